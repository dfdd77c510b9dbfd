// Package quickimport turns a RAW disk image into a private image on Huawei
// Cloud, and on the clouds that run its API, through the Image Management
// Service's fast creation function.
//
//	disk.raw ──rawimage──▶ zvhd2.Encode ──pipe──▶ uploader ──▶ OBS bucket
//	                                                              │
//	image id ◀── WaitJob ◀── job id ◀── POST quickimport/action ◀─┘
//
// [Client.Import] does all of it in one pass and without a temporary file.
// [Client.CreateImage], [Client.Job] and [Client.WaitJob] are its last steps
// for an object that lies in a bucket already.
//
// What can be checked is checked before the first byte is sent; every problem
// of a request is in one [ValidationError]. An import that fails for certain
// removes the objects that it uploaded. One whose outcome cannot be known (the
// answer to the POST was lost) is an error that matches [ErrUncertain]: the
// POST is not idempotent and is never repeated blindly, and the objects are
// left where they are.
//
// A Client is safe for concurrent use. Secrets are in no error, event or log
// of this package, nor in what %+v prints of [Credentials].
package quickimport
