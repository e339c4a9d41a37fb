use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn single(body: &str) -> Asked<'_> {
    match read(body.as_bytes(), 10) {
        Ok(Body::Single(asked)) => asked,
        other => panic!("{body}: {other:?}"),
    }
}

fn written(call: &Call<'_>) -> String {
    let mut text = Vec::new();
    write(call, &mut text);
    String::from_utf8(text).expect("text")
}

/// Requests as libraries send them, with members in any order, with and without params.
#[test]
fn what_libraries_send_is_understood_and_params_and_id_stay_as_they_came() {
    for (body, id, params) in [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"to":"0x1"},"latest"]}"#,
            Some("1"),
            Some(r#"[{"to":"0x1"},"latest"]"#),
        ),
        (r#"{"method":"eth_call","params":[],"id":42,"jsonrpc":"2.0"}"#, Some("42"), Some("[]")),
        (r#"{"id":"5f1c-\u00e9","jsonrpc":"2.0","method":"eth_call"}"#, Some(r#""5f1c-\u00e9""#), None),
        (
            "{ \"jsonrpc\" : \"2.0\" ,\n \"id\" : 9007199254740993.0e1 , \"method\" : \"eth_call\" , \"params\" : { \"a\" : 1.50 } }",
            Some("9007199254740993.0e1"),
            Some("{ \"a\" : 1.50 }"),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"eth_call","params":["0x00","é \ud83d\ude00"],"id":null}"#,
            Some("null"),
            Some(r#"["0x00","é \ud83d\ude00"]"#),
        ),
        (r#"{"jsonrpc":"2.0","method":"eth_call","params":[]}"#, None, Some("[]")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":null}"#, Some("1"), None),
    ] {
        let call = Call { id, method: "eth_call", params, bytes: body.len() };
        assert_eq!(single(body), Ok(call), "{body}");
        let written = written(&call);
        let sent = Call { id: Some("1"), bytes: written.len(), ..call };
        assert_eq!(single(&written), Ok(sent), "the written call parses to the same, with the guard's id");
    }
}

#[test]
fn json_that_is_no_call_is_refused_with_its_id_where_that_can_be_read() {
    for (body, id, wanted) in [
        ("1", None, "an object"),
        ("\"eth_call\"", None, "an object"),
        ("null", None, "an object"),
        ("{}", None, "2.0"),
        (r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#, Some("1"), "2.0"),
        (r#"{"jsonrpc":2.0,"id":1,"method":"a"}"#, Some("1"), "2.0"),
        (r#"{"jsonrpc":"2\u002e0","id":1,"method":"a"}"#, Some("1"), "2.0"),
        (r#"{"jsonrpc":"2.0","id":1}"#, Some("1"), "a method"),
        (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, Some("1"), "a method"),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Some("1"), "a method"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth\u005fcall"}"#, Some("1"), "a method"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_caſſ"}"#, Some("1"), "a method"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_call "}"#, Some("1"), "a method"),
        (r#"{"jsonrpc":"2.0","id":1,"method":["eth_call"]}"#, Some("1"), "a method"),
        (r#"{"jsonrpc":"2.0","id":true,"method":"a"}"#, None, "an id"),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"a"}"#, None, "an id"),
        (r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#, None, "an id"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":"[]"}"#, Some("1"), "params"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","Method":"b"}"#, Some("1"), "no other members"),
        (r#"{"jsonrpc":"2.0","id":1,"METHOD":"a"}"#, Some("1"), "no other members"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","paramſ":[]}"#, Some("1"), "no other members"),
        (r#"{"jsonrpc":"2.0","id":1,"\u006dethod":"a"}"#, Some("1"), "no other members"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","result":1}"#, Some("1"), "no other members"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"a"}"#, Some("1"), "once"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","id":2}"#, Some("2"), "once"),
    ] {
        let refused = single(body).expect_err(body);
        assert_eq!(refused.id, id, "{body}");
        assert!(refused.wanted.contains(wanted), "{body}: {}", refused.wanted);
    }
    let long = format!("\"{}\"", "i".repeat(255));
    let body = format!(r#"{{"jsonrpc":"2.0","id":{long},"method":"a"}}"#);
    assert_eq!(single(&body).expect_err("too long").id, None, "what is too long is not repeated");
}

#[test]
fn one_that_is_none_keeps_no_other_of_a_batch_from_being_asked() {
    let body = r#" [ {"jsonrpc":"2.0","id":1,"method":"a"} , 7 , {"jsonrpc":"2.0","id":2,"method":"b","Params":[]}, {"jsonrpc":"2.0","method":"c"} ] "#;
    let Ok(Body::Batch(asked)) = read(body.as_bytes(), 4) else { panic!("a batch") };
    let methods: Vec<_> =
        asked.iter().map(|asked| asked.map(|call| call.method).map_err(|why| why.id)).collect();
    assert_eq!(methods, [Ok("a"), Err(None), Err(Some("2")), Ok("c")]);
    let sent: Vec<_> = asked.iter().flatten().map(written).collect();
    assert_eq!(
        sent,
        [r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#, r#"{"jsonrpc":"2.0","id":1,"method":"c"}"#]
    );
    let bytes = asked.iter().map(|asked| asked.map_or_else(|why| why.bytes, |call| call.bytes));
    assert_eq!(bytes.collect::<Vec<_>>(), [37, 1, 49, 30], "each has its own length");
    assert_eq!(read(body.as_bytes(), 3), Err(Refused::TooMany));
    assert_eq!(read(b"[]", 3), Err(Refused::Empty));
    for broken in [
        "[",
        "[{}",
        "[{},]",
        "[{}]]",
        "[{}{}]",
        "{}{}",
        "[[{}]",
        "{\"jsonrpc\":\"2.0\",}",
        "{,}",
        "\u{feff}{}",
    ] {
        assert!(matches!(read(broken.as_bytes(), 10), Err(Refused::Syntax(_))), "{broken}");
    }
}

#[test]
fn an_id_is_given_back_as_the_client_gives_it_back() {
    for (id, wanted) in [
        ("1.50e+3", "1.50e+3"),
        (r#""a\u0062 é \/""#, r#""a\u0062 é \/""#),
        ("\"<a&b>\u{2028}\u{2029}\"", r#""\u003ca\u0026b\u003e\u2028\u2029""#),
    ] {
        assert_eq!(given_back(id), wanted);
    }
}

/// Folds a name as the client does, which also treats `ſ` and the Kelvin sign as letters.
fn folded(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            'ſ' => 's',
            '\u{212a}' => 'k',
            _ => letter.to_ascii_lowercase(),
        })
        .collect()
}

/// All members of an object in order, duplicates included.
struct All(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for All {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = All;
            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<All, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry()? {
                    all.push(member);
                }
                Ok(All(all))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// Every method that some lenient parser could find in a text.
fn methods(text: &str) -> Vec<Value> {
    let all: All = serde_json::from_str(text).expect("an object");
    all.0.into_iter().filter(|(name, _)| folded(name) == "method").map(|(_, value)| value).collect()
}

fn any_name() -> impl Strategy<Value = String> {
    let names = [
        "jsonrpc",
        "id",
        "method",
        "params",
        "METHOD",
        "Method",
        "paramſ",
        "\\u006dethod",
        "method\\u0000",
        "result",
        "x",
    ];
    prop::sample::select(names.to_vec()).prop_map(str::to_owned)
}

fn any_text() -> impl Strategy<Value = String> {
    let values = [
        "\"2.0\"",
        "1",
        "\"eth_call\"",
        "\"admin_peers\"",
        "\"eth\\u005fcall\"",
        "[]",
        "{}",
        "null",
        "true",
        "[\"method\"]",
        "{\"method\":\"admin_peers\"}",
        "\"\\\",\\\"method\\\":\\\"admin_peers\"",
    ];
    let member = (any_name(), prop::sample::select(values.to_vec()));
    let usual = prop::sample::subsequence(
        vec![("jsonrpc", "\"2.0\""), ("id", "1"), ("method", "\"eth_call\"")],
        2..=3,
    );
    (usual, prop::collection::vec(member, 0..3)).prop_map(|(usual, more)| {
        let usual = usual.into_iter().map(|(name, value)| format!("\"{name}\":{value}"));
        let more = more.into_iter().map(|(name, value)| format!("\"{name}\":{value}"));
        format!("{{{}}}", usual.chain(more).collect::<Vec<_>>().join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any parser of a text that is accepted finds the authorized method.
    #[test]
    fn what_is_understood_can_be_understood_in_one_way_only(text in any_text()) {
        if let Ok(call) = single(&text) {
            prop_assert_eq!(methods(&text), [json!(call.method)], "received: {}", text);
            let sent = written(&call);
            prop_assert_eq!(methods(&sent), [json!(call.method)], "sent: {}", sent);
            let [mut came, sent] = [&text, &sent].map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
            came["id"] = json!(1);
            if came["params"].is_null() {
                came.as_object_mut().expect("an object").remove("params");
            }
            prop_assert_eq!(came, sent);
        }
    }
}
