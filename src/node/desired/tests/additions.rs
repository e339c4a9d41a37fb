//! Tests that every addition to a rendered object is detected and removed, or is on the list of allowed differences.
//! Additions are made at every path of every object, from the schemas of the kinds.

use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Map, Value, json};

use super::sample;
use crate::{
    cluster::{
        drift::{Content, Rendered, allowed},
        write::Kind,
    },
    node::desired::Desired,
    testing::server::merge_patch,
};

/// An addition: its path, and the object with it.
struct Addition {
    path: String,
    object: Value,
}

struct Walk<'a> {
    definitions: &'a Value,
    whole: &'a Value,
    found: Vec<Addition>,
}

impl Walk<'_> {
    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        match schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
            Some(name) => self.resolved(&self.definitions[name]),
            // a reference with a description
            None => schema["allOf"].get(0).map_or(schema, |only| self.resolved(only)),
        }
    }

    fn sample(&self, schema: &Value, depth: usize) -> Value {
        let schema = self.resolved(schema);
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or_default();
        match kind {
            "integer" | "number" => json!(7),
            "boolean" => json!(true),
            "array" => json!([self.sample(&schema["items"], depth)]),
            "object" if depth == 0 => {
                match schema["properties"].as_object().and_then(|all| all.iter().next()) {
                    Some((name, inner)) => json!({name: self.sample(inner, 1)}),
                    None => json!({"added": "added"}),
                }
            }
            "object" => json!({}),
            _ => json!("added"),
        }
    }

    /// The object with another value at a pointer.
    fn with(&self, pointer: &str, value: Value) -> Value {
        let mut object = self.whole.clone();
        *object.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is there")) = value;
        object
    }

    fn add(&mut self, path: String, pointer: &str, value: Value) {
        let object = self.with(pointer, value);
        self.found.push(Addition { path, object });
    }

    fn walk(&mut self, schema: &Value, (path, pointer): (&str, &str), value: &Value) {
        let schema = self.resolved(schema).clone();
        match value {
            Value::Object(members) => self.members(&schema, (path, pointer), members),
            Value::Array(items) => {
                let mut more = items.clone();
                more.push(self.sample(&schema["items"], 0));
                self.add(format!("{path}.[]"), pointer, Value::Array(more.clone()));
                more.rotate_right(1);
                self.add(format!("{path}.[]"), pointer, Value::Array(more));
                for (at, item) in items.iter().enumerate() {
                    self.walk(&schema["items"], (&format!("{path}.[]"), &format!("{pointer}/{at}")), item);
                }
            }
            _ => {}
        }
    }

    fn members(&mut self, schema: &Value, (path, pointer): (&str, &str), members: &Map<String, Value>) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let mut absent = vec![("added".to_owned(), json!("added"))];
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            if !members.contains_key(name) {
                absent.extend([0, 1].map(|depth| (name.clone(), self.sample(inner, depth))));
            }
        }
        for (name, value) in absent {
            let mut more = members.clone();
            more.insert(name.clone(), value);
            self.add(below(&name), pointer, Value::Object(more));
        }
        for (name, value) in members {
            let inner = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
            let step = name.replace('~', "~0").replace('/', "~1");
            self.walk(inner, (&below(name), &format!("{pointer}/{step}")), value);
        }
    }
}

fn additions(definitions: &Value, schema: &Value, object: &Value) -> Vec<Addition> {
    let mut walk = Walk { definitions, whole: object, found: vec![] };
    walk.walk(schema, ("", ""), object);
    walk.found
}

/// Whether the list of allowed differences includes this path.
fn may_differ(kind: &str, path: &str) -> bool {
    let is_at = |entry: &str| {
        let (steps, parts) = (entry.split('.').collect::<Vec<_>>(), path.split('.').collect::<Vec<_>>());
        let fits = |(step, part): (&&str, &&str)| {
            step.split('|').any(|member| member == *part || member == "*" && *part != "[]")
        };
        // an entry includes everything below it
        steps.len() <= parts.len() && steps.iter().zip(&parts).all(fits)
    };
    let whole = |entry: &&allowed::Entry| !matches!(entry.rule, allowed::Rule::Quantity);
    allowed::of(kind).filter(whole).any(|entry| is_at(entry.path))
        || allowed::METADATA.iter().any(|(path, _)| is_at(path))
        || ["apiVersion", "kind", "status"].contains(&path.split('.').next().unwrap_or_default())
}

struct Tally {
    seen: usize,
    allowed: usize,
}

fn judge<K: Kind>(objects: &[K], schema: &Value, tally: &mut Tally) {
    let kind = K::kind(&());
    for object in objects {
        let rendered = Rendered::of(object).expect("rendered");
        let live = Content::of(&kind, rendered.body.clone());
        assert!(live.is(&rendered), "{kind}: what was rendered is itself");
        for addition in additions(&schema["$defs"], schema, &rendered.body) {
            let path = &addition.path;
            let live = Content::of(&kind, addition.object.clone());
            if may_differ(&kind, path) {
                tally.allowed += 1;
                continue;
            }
            tally.seen += 1;
            assert!(!live.is(&rendered), "{kind} {path}: an addition that nobody sees");
            let repair = live.repair(&ObjectMeta::default(), &rendered);
            let repair = repair.unwrap_or_else(|| panic!("{kind} {path}: no repair"));
            let mut repaired = addition.object;
            merge_patch(&mut repaired, &repair);
            assert!(Content::of(&kind, repaired).is(&rendered), "{kind} {path}: it stays after {repair}");
            let fields = live.differs(&rendered);
            assert!(!fields.is_empty(), "{kind} {path}: it is not named");
        }
    }
}

fn schema<T: schemars::JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

#[test]
fn whatever_is_added_to_an_object_is_seen_and_removed_or_is_on_the_list() {
    let mut tally = Tally { seen: 0, allowed: 0 };
    let mut kinds = 0;
    let asked_of_others = sample::with(
        sample::everything(),
        &json!({"metrics": {"podMonitor": "Enabled"},
            "tls": {"issuer": "CertManager", "certManager": {"issuerRef": {"name": "bank", "kind": "ClusterIssuer"}}}}),
    );
    for node in sample::all().into_iter().chain([asked_of_others]) {
        let Desired {
            accounts,
            policies,
            budgets,
            services,
            certificates,
            monitors,
            config_maps,
            secret_templates,
            workloads,
        } = sample::render(&sample::alone(&node));
        judge(&accounts, &schema::<ServiceAccount>(), &mut tally);
        judge(&policies, &schema::<NetworkPolicy>(), &mut tally);
        judge(&budgets, &schema::<PodDisruptionBudget>(), &mut tally);
        judge(&services, &schema::<Service>(), &mut tally);
        // third-party kinds have no schema here: unknown members are added everywhere
        judge(&certificates, &json!({}), &mut tally);
        judge(&monitors, &json!({}), &mut tally);
        judge(&config_maps, &schema::<ConfigMap>(), &mut tally);
        let secrets: Vec<_> =
            secret_templates.into_iter().map(|secret_templates| secret_templates.secret).collect();
        judge(&secrets, &schema::<Secret>(), &mut tally);
        judge(&workloads, &schema::<StatefulSet>(), &mut tally);
        let counts = [
            accounts.len(),
            policies.len(),
            budgets.len(),
            services.len(),
            certificates.len(),
            monitors.len(),
            config_maps.len(),
            secrets.len(),
            workloads.len(),
        ];
        kinds |=
            counts.iter().enumerate().filter(|(_, count)| **count > 0).fold(0, |all, (at, _)| all | 1 << at);
    }
    assert_eq!(kinds, (1 << allowed::KINDS.len()) - 1, "the samples have an object of every kind");
    assert!(tally.seen > 15_000 && tally.allowed > 1000, "{} seen, {} allowed", tally.seen, tally.allowed);
}

/// The server's form of an object equals the object that was sent.
#[test]
fn what_the_server_fills_in_is_no_drift() {
    let node = sample::render(&sample::alone(&sample::everything()));
    for workload in &node.workloads {
        let rendered = Rendered::of(workload).expect("rendered");
        let mut stored = rendered.body.clone();
        stored["status"] = json!({"replicas": 1});
        stored["metadata"]["uid"] = json!("uid-7");
        let spec = &mut stored["spec"];
        spec["revisionHistoryLimit"] = json!(10);
        spec["persistentVolumeClaimRetentionPolicy"] =
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
        let pod = &mut spec["template"]["spec"];
        pod["dnsPolicy"] = json!("ClusterFirst");
        pod["restartPolicy"] = json!("Always");
        pod["serviceAccount"] = pod["serviceAccountName"].clone();
        for container in pod["containers"].as_array_mut().into_iter().flatten() {
            container["terminationMessagePath"] = json!("/dev/termination-log");
            if container["resources"]["requests"]["cpu"] == "1" {
                container["resources"]["requests"]["cpu"] = json!("1000m");
            }
        }
        assert!(Content::of("StatefulSet", stored.clone()).is(&rendered));
        stored["spec"]["template"]["spec"]["dnsPolicy"] = json!("Default");
        assert!(!Content::of("StatefulSet", stored).is(&rendered), "only the default is");
    }
}
