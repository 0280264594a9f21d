//! Which linear maps an adapter is for.

use std::fmt;
use std::str::FromStr;

use mpo_models::LoraTarget;
use serde::{Deserialize, Serialize};

/// Names of linear maps, one at least.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written", into = "String")]
pub struct LoraTargets(Vec<LoraTarget>);

/// As a file may have them: PEFT's own files have a list.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected names such as q_proj,v_proj or all-linear, or a list of them")]
enum Written {
    One(String),
    Several(Vec<String>),
}

impl TryFrom<Written> for LoraTargets {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::One(text) => text.parse(),
            Written::Several(names) => names.join(",").parse(),
        }
    }
}

impl FromStr for LoraTargets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |name: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            let target = Some(name).filter(|name| !name.is_empty() && name.chars().all(plain));
            target.and_then(|name| name.parse().ok())
        };
        let targets: Option<Vec<LoraTarget>> = text.split(',').map(|name| named(name.trim())).collect();
        targets.map(Self).ok_or_else(|| format!("expected names such as q_proj,v_proj or all-linear, got {text}"))
    }
}

impl From<LoraTargets> for String {
    fn from(targets: LoraTargets) -> Self {
        targets.to_string()
    }
}

impl fmt::Display for LoraTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(LoraTarget::to_string).collect();
        f.write_str(&names.join(","))
    }
}

impl Default for LoraTargets {
    fn default() -> Self {
        Self(vec![LoraTarget::All])
    }
}

impl From<LoraTargets> for Vec<LoraTarget> {
    fn from(targets: LoraTargets) -> Self {
        targets.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_written_with_commas_or_as_a_list() {
        let read = |value| serde_json::from_value::<LoraTargets>(value);
        let both = read(json!("q_proj, v_proj")).unwrap();
        assert_eq!(both, read(json!(["q_proj", "v_proj"])).unwrap());
        assert_eq!(serde_json::to_value(&both).unwrap(), "q_proj,v_proj");
        assert_eq!(LoraTargets::default().to_string(), "all-linear");
        for wrong in [json!(""), json!([]), json!("q_proj,"), json!("q.*proj"), json!(4)] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
