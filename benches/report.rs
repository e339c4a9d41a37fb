//! Report of measurements as a table and as JSON.

use serde_json::{Value, json};

/// One measure.
pub(crate) struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    goal: Option<f64>,
    note: String,
}

/// All measures, in the order in which they were taken.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    raw: Vec<(String, Value)>,
}

impl Report {
    /// Adds a figure. It meets its goal if it is at most the goal.
    pub(crate) fn row(
        &mut self,
        what: &str,
        (value, unit): (f64, &'static str),
        goal: Option<f64>,
        note: impl Into<String>,
    ) {
        let row = Row { what: what.into(), value, unit, goal, note: note.into() };
        println!("{}", line(&row));
        self.rows.push(row);
    }

    /// Value of an earlier row, NaN if there is none.
    pub(crate) fn value(&self, what: &str) -> f64 {
        self.rows.iter().find(|row| row.what == what).map_or(f64::NAN, |row| row.value)
    }

    /// Adds raw data to the JSON.
    pub(crate) fn raw(&mut self, what: &str, value: Value) {
        self.raw.push((what.into(), value));
    }

    pub(crate) fn table(&self) -> String {
        let mut text =
            format!("{:42} {:>10}  {:8} {:>7}  {:6} {}\n", "measure", "value", "", "goal", "", "from");
        for row in &self.rows {
            text += &line(row);
            text.push('\n');
        }
        text
    }

    pub(crate) fn json(&self, about: Value) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({"measure": row.what, "value": row.value, "unit": row.unit, "goal": row.goal,
                "met": row.goal.map(|goal| row.value <= goal), "from": row.note})
        });
        json!({"about": about, "measures": rows.collect::<Vec<_>>(),
            "raw": self.raw.iter().cloned().collect::<serde_json::Map<_, _>>()})
    }
}

fn line(row: &Row) -> String {
    let (goal, verdict) = match row.goal {
        Some(goal) => (format!("{goal:.2}"), if row.value <= goal { "met" } else { "MISSED" }),
        None => (String::new(), ""),
    };
    format!("{:42} {:>10.2}  {:8} {:>7}  {:6} {}", row.what, row.value, row.unit, goal, verdict, row.note)
}

/// Percentile by nearest rank; `share` is from 0 to 1.
pub(crate) fn percentile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    percentile(samples, 0.5)
}

/// Samples as text with two decimals.
pub(crate) fn listed(samples: &[f64]) -> String {
    samples.iter().map(|sample| format!("{sample:.2}")).collect::<Vec<_>>().join(" ")
}
