// What ethers sends of the usual work of a wallet.
import { Contract, FetchRequest, JsonRpcProvider, WebSocketProvider } from "ethers";
import { steps, mixed, settled, socket, url, headers, account, contract, raw } from "./common.mjs";

const request = new FetchRequest(url);
for (const [name, value] of Object.entries(headers())) request.setHeader(name, value);
for (const batchMaxCount of [1, 100]) {
  const provider = new JsonRpcProvider(request.clone(), undefined, { batchMaxCount, batchStallTime: 50 });
  await steps([
    () => provider.getNetwork(),
    () => provider.getBlockNumber(),
    () => provider.getBalance(account),
    () => provider.getBlock("latest"),
    () => provider.getFeeData(),
    () => provider.getTransactionCount(account),
    () => provider.getCode(contract),
    () => provider.getStorage(contract, 0),
    () => provider.call({ to: contract, data: "0x70a08231" }),
    () => new Contract(contract, ["function balanceOf(address) view returns (uint256)"], provider).balanceOf(account),
    () => provider.estimateGas({ from: account, to: contract, value: 1n }),
    () => provider.getLogs({ fromBlock: 0, toBlock: "latest", address: contract, topics: [null, ["0x" + "11".repeat(32)]] }),
    () => provider.getTransactionReceipt("0x" + "22".repeat(32)),
    () => provider.broadcastTransaction(raw),
    () => Promise.allSettled([provider.send("eth_blockNumber", []), provider.send("eth_chainId", []), provider.send("net_version", [])]),
  ]);
  await mixed("http", (calls) => settled(calls.map(([method, params]) => provider.send(method, params))));
  provider.destroy();
}
const sockets = new WebSocketProvider(socket);
await mixed("websocket", (calls) => settled(calls.map(([method, params]) => sockets.send(method, params))));
await sockets.destroy();
process.exit();
