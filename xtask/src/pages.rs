//! Pages of `docs/` with parts that commands write.
//!
//! A page marks the place of a part: `<!-- generated: NAME -->`, then what is generated, then `<!-- end: NAME -->`.

use anyhow::{Result, bail};

/// Returns a page with `text` between its marks of this name.
pub fn replaced(page: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = (
        format!("<!-- generated: {name} -->"),
        format!("<!-- end: {name} -->"),
    );
    let (Some((before, _)), Some((_, after))) = (page.split_once(&begin), page.split_once(&end))
    else {
        bail!("`{begin}` and `{end}` must stand around the list `{name}`");
    };
    Ok(format!("{before}{begin}\n{text}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_stands_between_its_marks() {
        let page = "a\n<!-- generated: x -->\nold\n<!-- end: x -->\nb\n";
        let new = replaced(page, "x", "new\n").unwrap();
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(replaced(&new, "x", "new\n").unwrap(), new);
        assert!(replaced("a\n", "x", "new\n").is_err());
        assert!(replaced(page, "y", "new\n").is_err());
    }
}
