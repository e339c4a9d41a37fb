// What ethers 5 sends, which pairs the answers of a batch with its calls by their places.
import { Contract, providers } from "ethers5";
import { steps, mixed, settled, socket, url, headers, account, contract, raw } from "./common.mjs";

const connection = { url, headers: headers(), throttleLimit: 1 };
for (const Provider of [providers.StaticJsonRpcProvider, providers.JsonRpcBatchProvider]) {
  const provider = new Provider(connection, 1337);
  await steps([
    () => provider.send("eth_chainId", []),
    () => provider.getBlockNumber(),
    () => provider.getBalance(account),
    () => provider.getBlock("latest"),
    () => provider.getGasPrice(),
    () => provider.getTransactionCount(account, "pending"),
    () => provider.getCode(contract),
    () => provider.getStorageAt(contract, 0),
    () => provider.call({ to: contract, data: "0x70a08231" }),
    () => new Contract(contract, ["function balanceOf(address) view returns (uint256)"], provider).balanceOf(account),
    () => provider.estimateGas({ from: account, to: contract, value: 1 }),
    () => provider.getLogs({ fromBlock: 0, toBlock: "latest", address: contract, topics: [null, ["0x" + "11".repeat(32)]] }),
    () => provider.getTransactionReceipt("0x" + "22".repeat(32)),
    () => provider.sendTransaction(raw),
  ]);
  await mixed("http", (calls) => settled(calls.map(([method, params]) => provider.send(method, params))));
}
const sockets = new providers.WebSocketProvider(socket(), 1337);
await mixed("websocket", (calls) => settled(calls.map(([method, params]) => sockets.send(method, params))));
await sockets.destroy();
process.exit();
