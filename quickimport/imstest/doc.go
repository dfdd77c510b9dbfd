// Package imstest is a simulated cloud in the manner of net/http/httptest: an
// object store (OBS, S3 protocol), the image service (IMS) and the project
// lookup (IAM), each on a loopback listener of its own.
//
//	client ──► OBS  signature, addressing, integrity ──► objects, multipart uploads ──► files
//	       ──► IMS  signature or token, rules ──► job ──reads the object──► image
//	       ──► IAM  signature or token ──► project id
//
// # Strictness
//
// Signatures are recomputed, Content-MD5 and payload hashes are verified, and
// requests that OBS refuses are refused: aws-chunked bodies, checksum headers
// and trailers, query parameters that an operation does not know, path style on
// domain names. The object store has the operations listed with [Op] and no
// others. Every documented rule of a quick import is checked and answered with
// its documented code. A ZVHD2 object is read to its last byte before its job
// succeeds, by code that deliberately shares nothing with package zvhd2: a
// mistake in the encoder must not be repeated by the code that judges it.
//
// # Faults and variants
//
// [Server.Fail] takes faults ([Fault]): which requests go wrong, and how. The
// effects combine, and which requests are hit depends on their order alone.
// [ParseFault] reads the same from text. Some of what they are for:
//
//	AcceptThen(504, 3)                                             carried out, answered with 504, listed late
//	Fault{Op: OpCreate, Drop: true, Reset: true, ListLate: -1}     carried out, connection reset, listed after ListImages
//	Fault{Op: OpJob, State: "SUCCESS", Status: 404, Count: -1}     the job vanishes once it has succeeded
//	Fault{Op: OpJob, Quirks: []Quirk{QuirkNoImageID}, Count: -1}   SUCCESS without an image id
//	Fault{Op: OpJob, State: "FAIL", JobStatus: "error", Count: -1} another word for a final state
//	Fault{Op: OpJob, Nth: 3, Status: 200, Shape: ShapeHTML}        one HTML page while polling
//	Fault{Op: OpJobByID, Status: 403, Count: -1}                   no permission for the progress endpoint
//	Fault{Op: OpCreate, Status: 429, RetryAfter: "+30s", Count: 9} flow control
//	Fault{Op: OpImages, Status: 400, Message: EchoRequest}         the request, token included, comes back
//	Fault{Op: OpHeadObject, After: OpComplete, Status: 403}        HEAD refused once, after completion
//	Fault{Op: OpComplete, Quirks: []Quirk{QuirkRival}}             another host's object takes the place
//	Fault{Op: OpAbort, Status: 403, Count: -1}                     a missing permission
//	Fault{Service: OBS, NotPath: "/disk.zvhd2", Status: 403, Count: -1} keys limited to one object
//	Fault{Op: OpUploadPart, AnswerDelay: time.Minute}              a slow answer after the body
//	Fault{Op: OpGetObject, CutAfter: 1000, Trickle: time.Second}   a download that stalls
//
// A [Variant] is a lasting difference: encrypted or versioned buckets, no
// copying, rules that only some regions have. A clock that is wrong
// ([WithClock]) shows in the Date header, in time stamps and in the check of
// signature dates. [Server.SetCredentials] and [Server.SetToken] rotate keys.
//
// # Inspection and state
//
// [Server.Requests], [Server.Images], [Server.Jobs], [Server.Objects],
// [Server.Versions] and [Server.UnfinishedUploads] show what was received. With
// [WithDir] buckets, objects, unfinished uploads, images and jobs survive a
// restart, and jobs that were under way are resumed; the directory is locked
// while a server uses it.
//
// # Trust
//
// A Server is safe for concurrent use. It is meant for loopback and trusted
// clients: it bounds the memory and the work of each request, not disk space.
package imstest
