//! Changes that a real API server refuses: of a claim template, and of the size of a claim.

use serde_json::Value;

use super::state::Refusal;

/// Whether an object may become another; `no_growth` is what is said where no claim may grow.
pub(super) fn admit(
    resource: &str,
    live: &Value,
    object: &Value,
    no_growth: Option<&str>,
) -> Result<(), Refusal> {
    match resource {
        "statefulsets" => {
            let fixed = ["volumeClaimTemplates", "selector", "serviceName", "podManagementPolicy"];
            let changed = fixed.iter().any(|field| live["spec"][field] != object["spec"][field]);
            let message = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
            if changed { Err(Refusal::new(422, "Invalid", message)) } else { Ok(()) }
        }
        "persistentvolumeclaims" => claim(live, object, no_growth),
        "configmaps" | "secrets" if live["immutable"] == true => {
            let changed =
                ["data", "binaryData", "immutable"].iter().any(|field| live[field] != object[field]);
            let message = "data: Forbidden: field is immutable when `immutable` is set";
            if changed { Err(Refusal::new(422, "Invalid", message)) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn claim(live: &Value, object: &Value, no_growth: Option<&str>) -> Result<(), Refusal> {
    let size = |claim: &Value| mebibytes(&claim["spec"]["resources"]["requests"]["storage"]);
    let forbidden = |why: &str| {
        let name = live["metadata"]["name"].as_str().unwrap_or_default();
        Refusal::new(403, "Forbidden", format!("persistentvolumeclaims \"{name}\" is forbidden: {why}"))
    };
    if size(object) < size(live) {
        return Err(Refusal::new(422, "Invalid", "field can not be less than status.capacity"));
    }
    if size(object) == size(live) {
        return Ok(());
    }
    if live["status"]["phase"] != "Bound" {
        return Err(forbidden("Only bound persistent volume claims can be expanded"));
    }
    no_growth.map_or(Ok(()), |why| Err(forbidden(why)))
}

/// Of a size as our definition admits them.
fn mebibytes(size: &Value) -> u64 {
    let size = size.as_str().unwrap_or_default();
    let (number, unit) = size.split_at(size.len().saturating_sub(2));
    let scale = match unit {
        "Ti" => 1 << 20,
        "Gi" => 1 << 10,
        _ => 1,
    };
    number.parse::<u64>().unwrap_or_default() * scale
}
