// What web3.js sends of the usual work of a wallet.
import { Web3, HttpProvider, WebSocketProvider } from "web3";
import { steps, mixed, settled, url, socketUrl, headers, account, contract, raw } from "./common.mjs";

const provider = new HttpProvider(url, { providerOptions: { headers: headers() } });
const web3 = new Web3(provider);
const abi = [{ type: "function", name: "balanceOf", inputs: [{ name: "who", type: "address" }], outputs: [{ type: "uint256" }], stateMutability: "view" }];
await steps([
  () => web3.eth.getChainId(),
  () => web3.eth.getBlockNumber(),
  () => web3.eth.getBalance(account),
  () => web3.eth.getBlock("latest", true),
  () => web3.eth.getGasPrice(),
  () => web3.eth.getTransactionCount(account, "pending"),
  () => web3.eth.getCode(contract),
  () => web3.eth.getStorageAt(contract, 0),
  () => web3.eth.call({ to: contract, data: "0x70a08231" }),
  () => new web3.eth.Contract(abi, contract).methods.balanceOf(account).call(),
  () => web3.eth.estimateGas({ from: account, to: contract, value: 1n }),
  () => web3.eth.getPastLogs({ fromBlock: "earliest", toBlock: "latest", address: contract, topics: [null, ["0x" + "11".repeat(32)]] }),
  () => web3.eth.getTransactionReceipt("0x" + "22".repeat(32)),
  () => web3.eth.sendSignedTransaction(raw),
  () => web3.eth.net.getId(),
  () => web3.eth.getNodeInfo(),
  async () => {
    const batch = new web3.BatchRequest();
    const asked = ["eth_blockNumber", "eth_gasPrice", "eth_chainId"].map((method, id) => batch.add({ jsonrpc: "2.0", id: id + 1000, method, params: [] }));
    await batch.execute();
    await Promise.all(asked);
  },
]);
let id = 2000;
const batches = (web3) => async (calls) => {
  const batch = new web3.BatchRequest();
  const asked = settled(calls.map(([method, params]) => batch.add({ jsonrpc: "2.0", id: id++, method, params })));
  // it fails as a whole where one call does; what became of each is told apart
  await batch.execute({ timeout: 5000 }).catch(() => {});
  return asked;
};
await mixed("http", batches(web3));
const sockets = new WebSocketProvider(socketUrl, { headers: headers() });
await mixed("websocket", batches(new Web3(sockets)));
sockets.disconnect();
process.exit();
