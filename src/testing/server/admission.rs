//! Updates that a real API server refuses: fixed fields of StatefulSets, sizes of claims, immutable objects, budgets.

use serde_json::Value;

use super::state::Refusal;

/// Checks an update from `live` to `object`. With `no_growth`, every larger claim is refused with that message.
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
        "poddisruptionbudgets"
            if ["minAvailable", "maxUnavailable"].iter().all(|it| !object["spec"][it].is_null()) =>
        {
            let message = "spec: Invalid value: minAvailable and maxUnavailable cannot be both set";
            Err(Refusal::new(422, "Invalid", message))
        }
        "configmaps" | "secrets" if live["immutable"] == true => {
            let changed =
                ["data", "binaryData", "immutable"].iter().any(|field| live[field] != object[field]);
            let message = "data: Forbidden: field is immutable when `immutable` is set";
            if changed { Err(Refusal::new(422, "Invalid", message)) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// A claim may request more if its storage class allows expansion, and less if that is still more than its capacity.
fn claim(live: &Value, object: &Value, no_growth: Option<&str>) -> Result<(), Refusal> {
    let size = |claim: &Value| mebibytes(&claim["spec"]["resources"]["requests"]["storage"]);
    let (before, after) = (size(live), size(object));
    if after == before {
        return Ok(());
    }
    if live["status"]["phase"] != "Bound" {
        let message = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        return Err(Refusal::new(422, "Invalid", message));
    }
    if after < before && after <= mebibytes(&live["status"]["capacity"]["storage"]) {
        let message =
            "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity";
        return Err(Refusal::new(422, "Invalid", message));
    }
    match no_growth.filter(|_| after > before) {
        Some(why) => {
            let name = live["metadata"]["name"].as_str().unwrap_or_default();
            let message = format!("persistentvolumeclaims \"{name}\" is forbidden: {why}");
            Err(Refusal::new(403, "Forbidden", message))
        }
        None => Ok(()),
    }
}

/// Size in MiB, for quantities in Mi, Gi or Ti, which are all that the CRD admits.
pub(super) fn mebibytes(size: &Value) -> u64 {
    let size = size.as_str().unwrap_or_default();
    let (number, unit) = size.split_at(size.len().saturating_sub(2));
    let scale = match unit {
        "Ti" => 1 << 20,
        "Gi" => 1 << 10,
        _ => 1,
    };
    number.parse::<u64>().unwrap_or_default() * scale
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sized(phase: &str, size: &str) -> Value {
        json!({"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": size}}},
            "status": {"phase": phase, "capacity": {"storage": "20Gi"}}})
    }

    #[test]
    fn a_claim_may_ask_for_less_as_long_as_that_is_more_than_it_has() {
        let ask = |from: &str, to: &str| {
            admit("persistentvolumeclaims", &sized("Bound", from), &sized("Bound", to), None)
        };
        assert!(ask("30Gi", "21Gi").is_ok() && ask("30Gi", "40Gi").is_ok() && ask("30Gi", "30Gi").is_ok());
        for less in ["20Gi", "19Gi"] {
            let refusal = ask("30Gi", less).expect_err("it has that");
            assert_eq!(refusal.code, 422, "{}", refusal.message);
        }
    }

    #[test]
    fn growth_may_be_refused_and_a_claim_without_a_volume_does_not_change() {
        let ask = |phase: &str, to: &str| {
            admit("persistentvolumeclaims", &sized(phase, "30Gi"), &sized(phase, to), Some("no"))
                .map_err(|no| no.code)
        };
        assert_eq!((ask("Bound", "40Gi"), ask("Bound", "25Gi")), (Err(403), Ok(())));
        assert_eq!((ask("Pending", "40Gi"), ask("Pending", "25Gi")), (Err(422), Err(422)));
    }
}
