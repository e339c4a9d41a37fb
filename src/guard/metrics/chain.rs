//! `/chain` for the operator: block number, peers and missing peers from the last sample. A request costs the client
//! nothing.

use std::time::Duration;

use hyper::StatusCode;

use super::sanitize::Page;
use crate::{
    guard::server::{Answer, text},
    protocol::{
        chain_metrics::{Figures, HIGHEST},
        peer_connections::Connections,
    },
};

/// Answers with the figures and the peers without a connection, or with 503 and the name of the missing figure.
pub fn answer(last: Option<(Duration, &Page)>, connections: Option<Connections>) -> Answer {
    match figures(last) {
        Ok(figures) => {
            let connections = connections.map(|seen| seen.to_string()).unwrap_or_default();
            text(StatusCode::OK, format!("{figures}{connections}").trim_end())
        }
        Err(missing) => text(StatusCode::SERVICE_UNAVAILABLE, missing),
    }
}

fn figures(last: Option<(Duration, &Page)>) -> Result<Figures, &'static str> {
    let (age, page) = last.ok_or("no sample of the client's metrics yet")?;
    let head = page.head.and_then(whole).ok_or("chain_head_block is missing, or no number of a block")?;
    let peers = page.peers.and_then(whole).ok_or("p2p_peers is missing, or no number")?;
    let most = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Figures { head, peers: most(peers), age: most(age.as_secs()) })
}

/// Converts a figure of the client, which may be any floating-point number.
fn whole(value: f64) -> Option<u64> {
    (value >= 0.0 && value <= HIGHEST as f64).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(head: Option<f64>, peers: Option<f64>) -> Page {
        Page { head, peers, ..Page::default() }
    }

    #[test]
    fn figures_are_those_of_the_last_sample_with_its_age() {
        let seen = page(Some(46.0), Some(3.0));
        let told = figures(Some((Duration::from_millis(2900), &seen)));
        assert_eq!(told, Ok(Figures { head: 46, peers: 3, age: 2 }));
        assert!(figures(None).is_err());
    }

    #[test]
    fn what_is_no_number_of_a_block_is_missing() {
        for wrong in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            for page in [page(Some(wrong), Some(1.0)), page(Some(1.0), Some(wrong))] {
                assert!(figures(Some((Duration::ZERO, &page))).is_err(), "{wrong}");
            }
        }
        assert!(figures(Some((Duration::ZERO, &page(None, Some(1.0))))).is_err());
        assert!(figures(Some((Duration::ZERO, &page(Some(1.0), None)))).is_err());
    }
}
