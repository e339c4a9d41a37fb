// What all scripts have in common: where to call, as whom, and about what.
import { readFileSync } from "node:fs";

export const url = process.env.RPC_URL;
export const headers = () =>
  process.env.RPC_TOKEN ? { authorization: `Bearer ${readFileSync(process.env.RPC_TOKEN, "utf8").trim()}` } : {};
export const account = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
export const contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
// a transaction that is well formed and that no chain accepts
export const raw =
  "0xf86c808504a817c80082520894" + "3535353535353535353535353535353535353535" + "880de0b6b3a764000080" +
  "25a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276" +
  "a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83";

// One after the other. What the client refuses is as good as what it answers: it was asked.
export async function steps(all) {
  for (const [number, step] of all.entries()) {
    try {
      await step();
    } catch (error) {
      if (process.env.VERBOSE) console.error(number, error.shortMessage ?? error.message);
    }
  }
}
