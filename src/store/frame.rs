//! Fields of bytes one behind the other, each after its length, so that no two sequences of
//! fields are written alike. Pure.

use zeroize::Zeroizing;

use super::StoreErrorKind;

const LENGTH: usize = size_of::<u64>();

/// Writes the fields into memory that is wiped when dropped.
pub(crate) fn write<F: AsRef<[u8]>>(fields: &[F]) -> Zeroizing<Vec<u8>> {
    let length = fields.iter().map(|field| LENGTH + field.as_ref().len());
    // Enough from the beginning: growing would leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.sum()));
    for field in fields {
        let field = field.as_ref();
        let length = u64::try_from(field.len()).unwrap_or(u64::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

/// Reads fields of which the first is `tag`, which says what they are and in what format.
pub(crate) fn read<'a, const N: usize>(
    bytes: &'a [u8],
    tag: &str,
) -> Result<[&'a [u8]; N], StoreErrorKind> {
    let (first, mut rest) = split(bytes).ok_or(StoreErrorKind::Corrupt)?;
    if first != tag.as_bytes() {
        return Err(StoreErrorKind::UnknownFormat);
    }
    let mut fields = [&[][..]; N];
    for field in &mut fields {
        (*field, rest) = split(rest).ok_or(StoreErrorKind::Corrupt)?;
    }
    if rest.is_empty() {
        Ok(fields)
    } else {
        Err(StoreErrorKind::Corrupt)
    }
}

/// The first field and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(fields in prop::array::uniform3(prop::collection::vec(any::<u8>(), 0..40))) {
            let [a, b, c] = &fields;
            let bytes = write(&[b"tag", &a[..], &b[..], &c[..]]);
            prop_assert_eq!(read::<3>(&bytes, "tag"), Ok([&a[..], &b[..], &c[..]]));
            prop_assert_eq!(read::<3>(&bytes, "other"), Err(StoreErrorKind::UnknownFormat));
            prop_assert_eq!(read::<2>(&bytes, "tag"), Err(StoreErrorKind::Corrupt));
            prop_assert_eq!(read::<4>(&bytes, "tag"), Err(StoreErrorKind::Corrupt));
            for length in 0..bytes.len() {
                prop_assert!(read::<3>(&bytes[..length], "tag").is_err());
            }
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read::<3>(&bytes, "tag");
        }
    }
}
