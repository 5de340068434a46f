//! The JSON schema of the policy, which editors check a file by.

use super::file;

/// Returns the schema, as it is published in `docs/`.
#[must_use]
pub fn text() -> String {
    let schema = serde_json::to_string_pretty(&file::schema());
    schema.unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// `SOCKETVIRT_BLESS=1` writes the file anew.
    #[test]
    fn the_published_schema_is_fresh() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.schema.json");
        if std::env::var_os("SOCKETVIRT_BLESS").is_some() {
            fs::write(&path, super::text()).unwrap();
        }
        let published = fs::read_to_string(&path).unwrap();
        assert!(
            published == super::text(),
            "{} is stale: run this test with SOCKETVIRT_BLESS=1",
            path.display()
        );
    }
}
