// What viem sends of the usual work of a wallet.
import { createPublicClient, http, parseAbi } from "viem";
import { steps, mixed, settled, url, headers, account, contract, raw } from "./common.mjs";

for (const batch of [false, { batchSize: 100, wait: 50 }]) {
  const client = createPublicClient({ transport: http(url, { batch, retryCount: 0, fetchOptions: { headers: headers() } }) });
  await steps([
    () => client.getChainId(),
    () => client.getBlockNumber({ cacheTime: 0 }),
    () => client.getBalance({ address: account }),
    () => client.getBlock({ includeTransactions: true }),
    () => client.getGasPrice(),
    () => client.getTransactionCount({ address: account, blockTag: "pending" }),
    () => client.getCode({ address: contract }),
    () => client.getStorageAt({ address: contract, slot: "0x0" }),
    () => client.call({ to: contract, data: "0x70a08231" }),
    () => client.readContract({ address: contract, abi: parseAbi(["function balanceOf(address) view returns (uint256)"]), functionName: "balanceOf", args: [account] }),
    () => client.estimateGas({ account, to: contract, value: 1n }),
    () => client.getLogs({ address: contract, fromBlock: 0n, toBlock: "latest" }),
    () => client.getTransactionReceipt({ hash: "0x" + "22".repeat(32) }),
    () => client.sendRawTransaction({ serializedTransaction: raw }),
    () => Promise.allSettled([client.getChainId(), client.getGasPrice(), client.getBlockNumber({ cacheTime: 0 })]),
  ]);
  await mixed("http", (calls) => settled(calls.map(([method, params]) => client.request({ method, params }))));
}
process.exit();
