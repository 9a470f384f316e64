//! Lists that are read page by page.

use std::collections::VecDeque;
use std::future::Future;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use crate::errors::Error;

/// What is listed, page by page as it is asked for. After an error it ends.
///
/// `read` gets the token of a page, empty for the first, and answers what is on it and the token of the next one, empty
/// after the last.
pub(crate) fn pages<T, R>(read: impl Fn(String) -> R + Send + 'static) -> BoxStream<'static, Result<T, Error>>
where
    T: Send + 'static,
    R: Future<Output = Result<(Vec<T>, String), Error>> + Send + 'static,
{
    let first = (read, VecDeque::new(), Some(String::new()));
    stream::try_unfold(first, |(read, mut ready, mut next)| async move {
        loop {
            if let Some(one) = ready.pop_front() {
                return Ok(Some((one, (read, ready, next))));
            }
            let Some(token) = next.take() else {
                return Ok(None);
            };
            let answer = read(token);
            let (page, token) = answer.await?;
            ready = page.into();
            next = Some(token).filter(|token| !token.is_empty());
        }
    })
    .boxed()
}
