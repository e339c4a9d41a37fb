// What all scripts have in common: where to call, as whom, and about what.
import { readFileSync } from "node:fs";
import WebSocket from "ws";

export const url = process.env.RPC_URL;
export const socketUrl = process.env.RPC_WS;
export const headers = () =>
  process.env.RPC_TOKEN ? { authorization: `Bearer ${readFileSync(process.env.RPC_TOKEN, "utf8").trim()}` } : {};
export const account = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
export const contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
// a transaction that is well formed and that no chain accepts
export const raw =
  "0xf86c808504a817c80082520894" + "3535353535353535353535353535353535353535" + "880de0b6b3a764000080" +
  "25a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276" +
  "a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83";

// For libraries that take a socket.
export const socket = () => new WebSocket(socketUrl, { headers: headers() });

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

// Batches in which some calls are granted and some refused. A library is given one, calls it, and says of each call
// what became of it, in the order of the calls: a result, or an error. What it resolves is printed.
export async function mixed(way, run) {
  for (const calls of JSON.parse(process.env.RPC_BATCHES ?? "[]")) {
    const late = new Promise((_, reject) => setTimeout(reject, 5000, new Error("nothing after 5 s")).unref());
    const settled = await Promise.race([run(calls), late]).catch((error) => calls.map(() => failed(error)));
    console.log("mixed " + JSON.stringify({ way, calls, got: settled }));
  }
}
export const failed = (error) => ({ error: String(error?.error?.message ?? error?.message ?? error) });
export const settled = async (promises) =>
  (await Promise.allSettled(promises)).map((one) => (one.status === "fulfilled" ? { result: one.value } : failed(one.reason)));
