//! The list of apps as Sunshine keeps it: sorted by name after each save, so that an index is good until the next one.

use serde_json::{Value, json};

use crate::body::APPS;

/// The list.
#[derive(Debug)]
pub struct Apps(Vec<Value>);

/// Why a save or a deletion was refused, in the API's words.
pub type Refusal = &'static str;

impl Apps {
    /// As a fresh installation has it: not yet sorted.
    pub fn new() -> Apps {
        let entries = APPS.iter().map(|(name, _)| json!({"name": name, "image-path": "desktop.png"}));
        Apps(entries.collect())
    }

    /// Every entry.
    pub fn entries(&self) -> &[Value] {
        &self.0
    }

    /// Name and GameStream id of every entry.
    pub fn titles(&self) -> impl Iterator<Item = (&str, u32)> {
        self.0.iter().map(|entry| (name_of(entry), id_of(name_of(entry))))
    }

    /// Appends the entry or puts it at its `index`. An index beyond the end changes nothing and is no error.
    pub fn save(&mut self, mut entry: Value) -> Result<(i64, Value), Refusal> {
        let fields = entry.as_object_mut().ok_or("not an object")?;
        let index = fields.remove("index").and_then(|index| index.as_i64()).ok_or("key 'index' not found")?;
        if !fields.get("name").is_some_and(Value::is_string) {
            return Err("key 'name' not found");
        }
        if index < 0 {
            self.0.push(entry.clone());
        } else if let Some(place) = usize::try_from(index).ok().and_then(|index| self.0.get_mut(index)) {
            *place = entry.clone();
        }
        self.sort();
        Ok((index, entry))
    }

    /// Takes the entry out. Its name.
    pub fn delete(&mut self, index: &str) -> Result<String, Refusal> {
        let index: usize = index.parse().map_err(|_| "'index' is not a number")?;
        if index >= self.0.len() {
            return Err("'index' out of range");
        }
        Ok(name_of(&self.0.remove(index)).to_owned())
    }

    fn sort(&mut self) {
        self.0.sort_by(|one, other| name_of(one).cmp(name_of(other)));
    }
}

fn name_of(entry: &Value) -> &str {
    entry.get("name").and_then(Value::as_str).unwrap_or("")
}

/// Sunshine derives the id from the entry; the stand-in from its name alone (FNV-1a, positive as an `i32`).
fn id_of(name: &str) -> u32 {
    if let Some((_, id)) = APPS.iter().find(|(known, _)| *known == name) {
        return *id;
    }
    let hash =
        name.bytes().fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_sorts_the_list_so_that_indices_move() {
        let mut apps = Apps::new();
        apps.save(json!({"name": "Zoo", "index": -1})).expect("appends");
        apps.save(json!({"name": "Aaa", "index": -1})).expect("appends");
        let names: Vec<_> = apps.titles().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["Aaa", "Demo", "Desktop", "Zoo"]);
        apps.save(json!({"name": "Zzz", "index": 0})).expect("replaces Aaa");
        let names: Vec<_> = apps.titles().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["Demo", "Desktop", "Zoo", "Zzz"]);
    }
}
