//! Drafts of hostile bodies: raw members of an object, with a method that the caller may not call.

use crate::rng::Rng;

/// Granted methods, with params.
const OPEN: [(&str, &str); 4] =
    [("eth_chainId", "[]"), ("eth_blockNumber", "[]"), ("net_version", "[]"), ("web3_clientVersion", "[]")];

/// Methods that are not granted and have no effect except that the client counts them.
const MARKERS: [(&str, &str); 12] = [
    ("personal_listAccounts", "[]"),
    ("personal_listWallets", "[]"),
    ("admin_peers", "[]"),
    ("admin_nodeInfo", "[]"),
    ("admin_datadir", "[]"),
    ("debug_gcStats", "[]"),
    ("miner_stop", "[]"),
    ("txpool_status", "[]"),
    ("rpc_modules", "[]"),
    ("web3_sha3", "[\"0x6d61726b6572\"]"),
    ("eth_accounts", "[]"),
    ("eth_pendingTransactions", "[]"),
];

/// Whether a method is granted. All other methods in payloads are not.
pub(crate) fn is_open(method: &str) -> bool {
    OPEN.iter().any(|(open, _)| *open == method)
}

/// Raw name and value of a member: the bytes between the quotes, and after the colon.
pub(crate) type Member = (Vec<u8>, Vec<u8>);

/// An object before it is encoded.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) members: Vec<Member>,
}

pub(crate) fn member(name: &str, value: impl AsRef<[u8]>) -> Member {
    (name.as_bytes().to_vec(), value.as_ref().to_vec())
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

pub(crate) fn open(rng: &mut Rng) -> (&'static str, &'static str) {
    rng.one_of(&OPEN)
}

pub(crate) fn marker(rng: &mut Rng) -> (&'static str, &'static str) {
    rng.one_of(&MARKERS)
}

/// The name with at least one letter in upper case.
pub(crate) fn other_case(name: &str, rng: &mut Rng) -> String {
    loop {
        let mixed: String =
            name.chars().map(|c| if rng.percent(50) { c.to_ascii_uppercase() } else { c }).collect();
        if mixed != name {
            return mixed;
        }
    }
}

impl Draft {
    /// A call in the usual order; some have no id, some no params.
    pub(crate) fn call(method: &str, params: &str, rng: &mut Rng) -> Self {
        let mut members = vec![member("jsonrpc", "\"2.0\"")];
        if rng.percent(90) {
            members.push(member("id", rng.below(1000).to_string()));
        }
        members.push(member("method", quoted(method)));
        if params != "[]" || rng.percent(70) {
            members.push(member("params", params));
        }
        Self { members }
    }

    /// A granted call.
    pub(crate) fn granted(rng: &mut Rng) -> Self {
        let (method, params) = open(rng);
        Self::call(method, params, rng)
    }

    /// A call that is not granted, without disguise.
    pub(crate) fn plain(rng: &mut Rng) -> Self {
        let (method, params) = marker(rng);
        Self::call(method, params, rng)
    }

    /// A granted call with a second method under a name in other case. The client takes the last.
    pub(crate) fn shadowed(rng: &mut Rng) -> Self {
        let (method, params) = marker(rng);
        let mut draft = Self::call(open(rng).0, params, rng);
        let shadow = member(&other_case("method", rng), quoted(method));
        let after = draft.at("method") + 1;
        let free = (draft.members.len() + 1 - after) as u64;
        draft.members.insert(after + rng.below(free) as usize, shadow);
        draft
    }

    /// A call with two methods under the same name.
    pub(crate) fn twin(rng: &mut Rng) -> Self {
        let (method, params) = marker(rng);
        let mut draft = Self::call(open(rng).0, params, rng);
        let twin = member("method", quoted(method));
        let at = draft.at("method") + usize::from(rng.percent(80));
        draft.members.insert(at, twin);
        draft
    }

    /// One of these three.
    pub(crate) fn any(rng: &mut Rng) -> Self {
        match rng.below(6) {
            0 => Self::plain(rng),
            1 | 2 => Self::twin(rng),
            _ => Self::shadowed(rng),
        }
    }

    /// Index of the first member with this name in any case, or of the last member if there is none.
    pub(crate) fn at(&self, name: &str) -> usize {
        let found = self.members.iter().position(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        found.unwrap_or(self.members.len() - 1)
    }

    /// A random member.
    pub(crate) fn some(&mut self, rng: &mut Rng) -> &mut Member {
        let at = rng.below(self.members.len() as u64) as usize;
        &mut self.members[at]
    }

    pub(crate) fn shuffle(&mut self, rng: &mut Rng) {
        for last in (1..self.members.len()).rev() {
            self.members.swap(last, rng.below(last as u64 + 1) as usize);
        }
    }

    /// Encoded tokens: braces, names, colons, values and commas.
    pub(crate) fn tokens(&self) -> Vec<Vec<u8>> {
        let mut tokens = vec![b"{".to_vec()];
        for (index, (name, value)) in self.members.iter().enumerate() {
            if index > 0 {
                tokens.push(b",".to_vec());
            }
            tokens.extend([[b"\"", &name[..], b"\""].concat(), b":".to_vec(), value.clone()]);
        }
        tokens.push(b"}".to_vec());
        tokens
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.tokens().concat()
    }
}
