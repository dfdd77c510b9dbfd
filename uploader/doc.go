// Package uploader puts large, sparse or generated objects into Huawei OBS or
// any S3 service, and reads them back by ranges.
//
// It sends nothing twice, nothing for zeros, and notices what is damaged:
//
//	source ──► parts ──┬─ on the server already (resume) ──────────┐
//	                   ├─ all zeros: UploadPartCopy from one object ┼─► complete ─► compare
//	                   └─ sent: Content-MD5, ETag compared, retried ┘
//
// # What goes over the wire
//
// An object shorter than a part goes up in one piece, any other as a multipart
// upload whose part size follows from the largest the object can become
// (PartSizeFor). Each part is held in memory once: hashed, compared with what
// an earlier run left, tested for zeros, and sent from there. A part's
// Content-MD5 lets the service refuse what was damaged on the way, its ETag is
// compared with the digest, the object's with the digest of digests, and its
// size is read back. Where the bucket encrypts by default ETags are no digests;
// Result.Encrypted says that they were not compared.
//
// The client is set up as OBS wants it: the bucket in the host name except for
// IP addresses and localhost, no trailing checksums and no aws-chunked bodies,
// no x-id parameter, and nothing from the environment or configuration files of
// the AWS SDK.
//
// # Resume
//
// With a Store, what is under way is written down before each step that creates
// something on the server. The next upload to the same target lists the parts,
// hashes the source again and sends what is missing or differs. A state whose
// source, part size or upload is another is discarded (Result.RestartReason).
//
// # Failures
//
// Each part (and each other operation) has one budget of attempts with
// exponential backoff and jitter; each attempt is signed anew, and ends when no
// byte moved for the stall timeout. What will not pass by itself fails at once.
// Errors are *Error with the service's code and request id, and match the
// sentinels of this package by errors.Is. When an upload fails its parts are
// aborted, or kept if there is a store to resume from (WithFailureMode); the
// clean-up has a context of its own.
//
// # Memory
//
// At most (concurrency+1) part sizes for a stream, concurrency part sizes for
// an io.ReaderAt, whatever the size of the object. The Go runtime lets garbage
// grow to as much again (GOGC), so that a process peaks below twice that and
// 48 MiB. A stream that can become 1 TiB has parts of 105 MiB; a smaller bound
// makes them smaller.
//
// # Security
//
// Answers of the service are not trusted: listings are bounded, texts from it
// are clipped in errors. Neither errors nor state hold keys or signed URLs.
package uploader
