// Package imstest is a test cloud in the manner of net/http/httptest: an object
// store (OBS, S3 protocol), the image service (IMS) and the project lookup
// (IAM), on loopback listeners of their own.
//
//	client ──► OBS  signature, addressing, integrity ──► gofakes3 / multipart ──► files
//	       ──► IMS  signature or token, rules ──► job ──reads the object──► image
//	       ──► IAM  signature or token ──► project id
//
// It is strict. Signatures are recomputed, Content-MD5 and payload hashes are
// verified, requests that OBS refuses are refused (aws-chunked bodies, checksum
// headers and trailers, unknown query parameters on PUT, path style on domain
// names), every documented rule of quickimport is checked and answered with its
// documented code, and a ZVHD2 object is read to its last byte, by code that
// shares nothing with the encoder, before its job succeeds.
//
// Faults are deterministic ([Server.Fail]), the clock can be moved
// ([WithClock]), and everything received can be inspected ([Server.Requests],
// [Server.Images], [Server.Jobs], [Server.UnfinishedUploads]). With [WithDir]
// buckets, objects, unfinished uploads, images and jobs survive a restart, and
// jobs that were under way are taken up again.
//
// A Server is safe for concurrent use. It is meant for loopback and trusted
// clients: it bounds memory, not disk space.
package imstest
