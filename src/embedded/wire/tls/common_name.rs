//! The common name in a certificate, which nsqd sends to its auth server.

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// The optional version field of a certificate.
const VERSION: u8 = 0xa0;
/// The object identifier 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Returns the common name of a certificate's subject: the last of several, as Go does.
pub(super) fn parse(certificate: &[u8]) -> Option<String> {
    let certificate = Der(certificate).next_with(SEQUENCE)?;
    let mut fields = Der(certificate).next_with(SEQUENCE).map(Der)?;
    let (tag, _) = fields.next()?;
    // After the version: serial number, algorithm, issuer, validity, subject.
    let subject = fields.nth(if tag == VERSION { 4 } else { 3 })?;
    let sets = Der(subject.1).filter(|(tag, _)| *tag == SET);
    let attributes = sets.flat_map(|(_, set)| Der(set));
    let names = attributes.filter_map(|(_, attribute)| {
        let mut attribute = Der(attribute);
        let kind = attribute.next_with(OBJECT_IDENTIFIER)?;
        let (_, value) = attribute.next()?;
        (kind == COMMON_NAME).then_some(value)
    });
    names
        .last()
        .map(|name| String::from_utf8_lossy(name).into_owned())
}

/// Iterates over the tags and contents of consecutive DER elements.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Returns the contents of the next element, if it has this tag.
    fn next_with(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .and_then(|(found, contents)| (found == tag).then_some(contents))
    }
}

impl<'a> Iterator for Der<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            short @ 0..0x80 => (usize::from(short), rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                let shifted =
                    |length: usize, byte: &u8| Some(length.checked_mul(256)? + usize::from(*byte));
                (bytes.iter().try_fold(0, shifted)?, rest)
            }
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, contents))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(names: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn common_name_is_found_among_other_attributes() {
        let others = [
            (DnType::OrganizationName, "an organization"),
            (DnType::CommonName, "Zoë"),
            (DnType::CountryName, "IS"),
        ];
        assert_eq!(parse(&certificate(&others)).as_deref(), Some("Zoë"));
        let long = "x".repeat(300);
        let named = certificate(&[(DnType::CommonName, &long)]);
        assert_eq!(parse(&named), Some(long));
    }

    #[test]
    fn missing_name_or_truncated_certificate_yields_none() {
        assert_eq!(parse(&certificate(&[])), None);
        let whole = certificate(&[(DnType::CommonName, "name")]);
        for cut in 0..whole.len() {
            let _ = parse(&whole[..cut]);
        }
        assert_eq!(parse(&whole[..40]), None);
        assert_eq!(parse(&[0x30, 0xff, 0xff]), None);
    }
}
