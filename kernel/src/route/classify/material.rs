//! What capabilities say of themselves, gathered from all who offer them.

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::CapabilitySpec;
use crate::name::Name;

/// What a capability says of itself, to be learned. Sets, so that it does not matter who registered first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Material {
    /// Descriptions, one for each agent that puts it in other words.
    pub descriptions: BTreeSet<String>,
    /// Words that suggest it.
    pub keywords: BTreeSet<String>,
    /// Requests it should get.
    pub examples: BTreeSet<String>,
}

impl Material {
    /// What all of `specs` say, by capability.
    pub fn gather<'s>(specs: impl IntoIterator<Item = &'s CapabilitySpec>) -> BTreeMap<Name, Self> {
        let mut gathered: BTreeMap<Name, Self> = BTreeMap::new();
        for spec in specs {
            let material = gathered.entry(spec.name.clone()).or_default();
            if !spec.description.is_empty() {
                material.descriptions.insert(spec.description.clone());
            }
            material.keywords.extend(spec.keywords.iter().cloned());
            material.examples.extend(spec.examples.iter().cloned());
        }
        gathered
    }

    /// The descriptions as one text.
    #[must_use]
    pub fn description(&self) -> String {
        self.descriptions.iter().map(String::as_str).collect::<Vec<_>>().join(" · ")
    }
}

/// What tells one collection of material from another: BLAKE3 over all of it.
#[must_use]
pub fn fingerprint(material: &BTreeMap<Name, Material>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("mainstay routing material v1");
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_be_bytes()).update(text.as_bytes());
    };
    for (name, material) in material {
        text(name.as_str());
        for set in [&material.descriptions, &material.keywords, &material.examples] {
            text(&set.len().to_string());
            set.iter().for_each(|one| text(one));
        }
    }
    hasher.finalize().into()
}
