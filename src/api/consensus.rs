//! Consensus of a network, and the organisations that run its nodes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pattern of an account address.
const ADDRESS: &str = "^0x[0-9a-fA-F]{40}$";

/// Consensus of a network.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.validators) && has(self.validatorAddresses))")
        .message("set either validators or validatorAddresses, not both")
)]
pub struct Consensus {
    /// Consensus engine: `QBFT` or `IBFT`. The value must be the engine that the genesis names. Immutable.
    #[serde(rename = "type")]
    pub engine: Engine,

    /// Number of validators of the whole network: 1 to 1000. Set this field if some validators of the network run
    /// outside this namespace. The number determines how many validators may be unavailable at a time. A number above
    /// the number of validators in the genesis has no effect: after validators were voted in, set `validatorAddresses`
    /// instead. Default: the number of validators in the genesis; if a contract names the validators, the number of
    /// validators in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub validators: Option<i32>,

    /// Addresses of the network's current validators, each 0x and 40 hexadecimal digits. Set either
    /// `validatorAddresses` or `validators`. Set `validatorAddresses` after validators were voted in or out, because a
    /// vote does not change the genesis. Default: the addresses of the validators in the genesis.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 1000), inner(length(max = 42), regex(pattern = ADDRESS)))]
    pub validator_addresses: Vec<String>,

    /// Who runs the network's nodes. `ThirdParty`: several organisations. `SingleOperator`: one organisation;
    /// `tls.trust` and `transactionManager.peers` are then rejected, because they name other organisations.
    pub operators: Operators,
}

/// Byzantine fault tolerant consensus engines of GoQuorum.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Engine {
    /// QBFT, the engine that GoQuorum recommends.
    #[serde(rename = "QBFT")]
    Qbft,
    /// IBFT, the predecessor of QBFT.
    #[serde(rename = "IBFT")]
    Ibft,
}

/// Who runs a network's nodes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Operators {
    /// Several organisations.
    ThirdParty,
    /// One organisation.
    SingleOperator,
}
