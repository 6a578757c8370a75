//! Reads a dumped document. The page is our own, so searching its text is enough.

/// The text of the element with this id, without tags.
pub fn text(document: &str, id: &str) -> String {
    let (_, rest) = element(document, id);
    let name_end = |rest: &str| rest.find([' ', '>']).unwrap_or(0);
    let tag = &document[document.len() - rest.len()..];
    let name = &tag[1..1 + name_end(&tag[1..])];
    let inner = tag.split_once('>').map_or("", |(_, inner)| inner);
    let end = format!("</{name}>");
    let inner = inner.split_once(&end).map_or(inner, |(inner, _)| inner);
    without_tags(inner)
}

/// An attribute of the element with this id.
pub fn attribute(document: &str, id: &str, name: &str) -> Option<String> {
    let (_, rest) = element(document, id);
    let tag = rest.split('>').next()?;
    let (_, value) = tag.split_once(&format!("{name}=\""))?;
    Some(value.split('"').next()?.to_owned())
}

/// The document before the tag with this id, and from it on.
fn element<'a>(document: &'a str, id: &str) -> (&'a str, &'a str) {
    let at = document.find(&format!("id=\"{id}\""));
    let at = at.unwrap_or_else(|| panic!("no element {id} in:\n{document}"));
    let start = document[..at].rfind('<').unwrap_or(0);
    document.split_at(start)
}

fn without_tags(html: &str) -> String {
    let pieces = html.split('<').enumerate().map(|(index, piece)| {
        let text = piece.split_once('>').map(|(_, text)| text);
        if index == 0 {
            piece
        } else {
            text.unwrap_or("")
        }
    });
    let text: Vec<_> = pieces
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .collect();
    text.join(" ")
}
