//! The three sources of a setting, and the order among them.

use std::collections::BTreeMap;
use std::fmt;

use super::Flags;

/// The three names of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    /// In the file.
    pub(super) key: &'static str,
    flag: &'static str,
    env: &'static str,
    /// Several texts; in the environment with commas between them.
    list: bool,
}

/// What a source says: one text, or for lists several.
#[derive(Debug, Clone)]
pub(super) struct Texts {
    pub(super) values: Vec<String>,
    pub(super) origin: Origin,
}

/// Where a text was written.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    Flag(&'static str),
    Env(&'static str),
    File(String),
}

/// All sources, and what was found wrong in them.
pub(super) struct Sources<E> {
    flags: Flags,
    env: E,
    file: BTreeMap<&'static str, Texts>,
    errors: Vec<String>,
}

impl Setting {
    pub(super) const fn new(key: &'static str, flag: &'static str, env: &'static str) -> Self {
        Self { key, flag, env, list: false }
    }

    pub(super) const fn list(key: &'static str, flag: &'static str, env: &'static str) -> Self {
        Self { key, flag, env, list: true }
    }
}

impl<E: Fn(&str) -> Option<String>> Sources<E> {
    pub(super) const fn new(
        flags: Flags,
        env: E,
        file: BTreeMap<&'static str, Texts>,
        errors: Vec<String>,
    ) -> Self {
        Self { flags, env, file, errors }
    }

    /// The setting's value from the first source that has one.
    pub(super) fn one<T>(
        &mut self,
        setting: Setting,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let Some(Texts { values, origin }) = self.pick(setting) else { return default };
        let [text] = values.as_slice() else {
            self.errors.push(format!("{origin}: wants one value and has {}", values.len()));
            return default;
        };
        parse(text).unwrap_or_else(|hint| {
            self.errors.push(format!("{origin}: {text:?} is not possible: {hint}"));
            default
        })
    }

    /// All values from the first source that has any.
    pub(super) fn many(&mut self, setting: Setting) -> Vec<String> {
        self.pick(setting).map(|texts| texts.values).unwrap_or_default()
    }

    /// Reads each value from the first source that has any.
    pub(super) fn each(&mut self, setting: Setting, mut read: impl FnMut(&str) -> Result<(), String>) {
        let Some(Texts { values, origin }) = self.pick(setting) else { return };
        for text in values {
            if let Err(hint) = read(&text) {
                self.errors.push(format!("{origin}: {text:?} is not possible: {hint}"));
            }
        }
    }

    /// What was found wrong.
    pub(super) fn errors(self) -> Vec<String> {
        self.errors
    }

    fn pick(&self, setting: Setting) -> Option<Texts> {
        let flag = self.flags.iter().find(|(key, values)| *key == setting.key && !values.is_empty());
        if let Some((_, values)) = flag {
            return Some(Texts { values: values.clone(), origin: Origin::Flag(setting.flag) });
        }
        if let Some(text) = (self.env)(setting.env) {
            // Directives of a log level have commas of their own.
            let values = match setting.list {
                true => text.split(',').map(|part| part.trim().to_owned()).collect(),
                false => vec![text],
            };
            return Some(Texts { values, origin: Origin::Env(setting.env) });
        }
        self.file.get(setting.key).cloned()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Env(name) => f.write_str(name),
            Self::File(place) => f.write_str(place),
        }
    }
}
