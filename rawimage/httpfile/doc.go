// Package httpfile reads a file on an HTTP server in place, by range requests.
//
// [Open] finds out how large the file is, whether the server supports ranges and
// what identifies this version of the file: its ETag, else its Last-Modified.
// Every later answer is held to that: a file that changes while it is read is
// [ErrChanged], never a mixture of two versions.
//
//	GET, Range: bytes=0-0     206: ranges    200: no ranges, Stream only
//	GET, Range: bytes=A-B     If-Match: the ETag; Content-Range, length, ETag and
//	                          Last-Modified of the answer are checked
//
// # Requests
//
// Small reads go through a cache of blocks of 64 KiB; larger ones ask for exactly
// what is read, in pieces of 1 MiB side by side, up to 16 at a time. A request
// that fails, stalls or breaks off is repeated from where it broke off, within a
// budget of time. Answers with a content encoding are refused.
//
// # Redirects and credentials
//
// Redirects are followed, at most ten, and the last URL is used from then on;
// if it expires, the first one is asked again. The user and password of a URL and
// the headers of [WithHeader] are sent to the host of the URL that was given and
// to no other, and never from https to http. Neither they nor the query of a URL
// appear in an error.
package httpfile
