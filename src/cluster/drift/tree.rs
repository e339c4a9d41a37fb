//! Lookup tree over the list of allowed differences, by path step.

use std::sync::LazyLock;

use super::allowed::{self, KINDS, Rule};

/// Step to any item of a list.
pub const ITEM: &str = "[]";
/// Step to any member.
const ANY: &str = "*";

/// Allowed differences at and below a path.
#[derive(Debug, Default)]
pub struct Tree {
    /// Rules for this path.
    pub rules: Vec<Rule>,
    below: Vec<(&'static str, Tree)>,
}

impl Tree {
    /// Subtree of a member.
    pub fn below(&self, name: &str) -> Option<&Self> {
        let leads = |step: &str| step == name || step == ANY && name != ITEM;
        self.below.iter().find(|(step, _)| leads(step)).map(|(_, tree)| tree)
    }

    fn add(&mut self, path: &'static str, rule: Rule) {
        let Some((step, rest)) = path.split_once('.').or_else(|| (!path.is_empty()).then_some((path, "")))
        else {
            self.rules.push(rule);
            return;
        };
        for name in step.split('|') {
            let at = self.below.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                self.below.push((name, Self::default()));
                self.below.len() - 1
            });
            self.below[at].1.add(rest, rule);
        }
    }
}

/// Allowed differences of a kind.
pub fn of(kind: &str) -> Option<&'static Tree> {
    static BY_KIND: LazyLock<Vec<(&'static str, Tree)>> = LazyLock::new(|| {
        let of = |kind: &&'static str| {
            let mut tree = Tree::default();
            allowed::of(kind).for_each(|entry| tree.add(entry.path, entry.rule));
            (*kind, tree)
        };
        KINDS.iter().map(of).collect()
    });
    BY_KIND.iter().find(|(named, _)| *named == kind).map(|(_, tree)| tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step must not have both a name and `*` below it: the lookup would follow only one of them.
    #[test]
    fn any_member_stands_alone() {
        fn alone(tree: &Tree) -> bool {
            let any = tree.below.iter().any(|(step, _)| *step == ANY);
            (!any || tree.below.len() == 1) && tree.below.iter().all(|(_, tree)| alone(tree))
        }
        assert!(KINDS.iter().all(|kind| alone(of(kind).expect("a kind of ours"))));
        assert!(of("Pod").is_none());
    }

    #[test]
    fn each_entry_is_where_its_path_leads() {
        for kind in KINDS {
            for entry in allowed::of(kind) {
                let steps: Vec<Vec<_>> =
                    entry.path.split('.').map(|step| step.split('|').collect()).collect();
                for at in 0..steps.iter().map(Vec::len).max().unwrap_or_default() {
                    let mut tree = of(kind);
                    for names in &steps {
                        let name = names[at.min(names.len() - 1)];
                        tree = tree.and_then(|tree| tree.below(if name == ANY { "cpu" } else { name }));
                    }
                    let shown = |rule: &Rule| format!("{rule:?}");
                    let rules: Vec<_> = tree.expect(entry.path).rules.iter().map(shown).collect();
                    assert!(rules.contains(&shown(&entry.rule)), "{kind} {}: {rules:?}", entry.path);
                }
            }
        }
    }
}
