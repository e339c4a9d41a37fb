// What web3.js 1 sends, which pairs the answers of a batch with its calls by their places.
import Web3 from "web3v1";
import { steps, mixed, failed, url, socketUrl, headers, account, contract, raw } from "./common.mjs";

const own = headers();
const web3 = new Web3(new Web3.providers.HttpProvider(url, { headers: Object.entries(own).map(([name, value]) => ({ name, value })) }));
const abi = [{ type: "function", name: "balanceOf", inputs: [{ name: "who", type: "address" }], outputs: [{ name: "", type: "uint256" }], stateMutability: "view" }];
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
  () => web3.eth.estimateGas({ from: account, to: contract, value: 1 }),
  () => web3.eth.getPastLogs({ fromBlock: "earliest", toBlock: "latest", address: contract, topics: [null, ["0x" + "11".repeat(32)]] }),
  () => web3.eth.getTransactionReceipt("0x" + "22".repeat(32)),
  () => web3.eth.net.getId(),
  () => web3.eth.getNodeInfo(),
  () => web3.eth.isSyncing(),
  () => new Promise((resolve) => web3.eth.sendSignedTransaction(raw).on("error", resolve).on("transactionHash", resolve)),
]);
const batches = (web3) => (calls) =>
  new Promise((resolve) => {
    const batch = new web3.BatchRequest();
    const got = Array(calls.length);
    let left = calls.length;
    calls.forEach(([method, params], place) => {
      const callback = (error, result) => {
        got[place] = error ? failed(error) : { result };
        if (--left === 0) resolve(got);
      };
      batch.add({ method, params, callback });
    });
    batch.execute();
  });
await mixed("http", batches(web3));
const sockets = new Web3.providers.WebsocketProvider(socketUrl, { headers: own });
await mixed("websocket", batches(new Web3(sockets)));
process.exit();
