// Package quickimport turns a disk image into a private image on Huawei Cloud,
// and on the clouds that run its API, through the Image Management Service's
// fast creation function.
//
//	Source ──Open──▶ disk ──▶ zvhd2.Encode ──pipe──▶ uploader ──▶ OBS bucket
//	                                                                 │
//	image id ◀── WaitJob ◀── job id ◀── POST quickimport/action ◀────┘
//
// [Client.Import] does all of it in one pass and without a temporary file.
// [Client.ImportAll] imports several images. [Client.Create] creates an image
// from an object that is in a bucket already; [Client.CreateImage], [Client.Job]
// and [Client.WaitJob] are single steps. [Client.Doctor] tries what depends on
// the installation.
//
// What all imports share (endpoints, credentials, limits, state) are the options
// of the client ([Option]); what belongs to one import are [ImportOption]s of the
// call. An option that has no effect in a call is an error.
//
// # Sources
//
// A [Source] is a value: [File], [Disk] (any io.ReaderAt), [Stream] (any
// io.Reader), [HTTP], [NBD], [Object], or one of your own. Its content decides
// its format. A source with an identity (a file's path, size and time of change;
// an ETag; what the caller says) can be resumed. Without one nothing is recorded:
// a failed import removes what it uploaded and starts over the next time, and
// whether an interrupted run asked for the image is found out by the image's name
// alone.
//
// # Preflight
//
// What can be checked is checked before the first byte of the disk is sent: the
// rules of the request ([Image.Validate]), the disk, the guest on it, and the
// cloud. Every problem is in one [ValidationError], with its field, reason and
// code. [Client.Plan] does just that and returns what would be sent.
//
// # Stages of an import
//
// With [WithStateDir] an import records each stage that it reaches, and the same
// call resumes it after the process has died:
//
//	planned ─▶ uploading ─▶ uploaded ─▶ verified ─▶ submitting ─▶ submitted ─▶ finished
//	           parts in the             read back    POST, which   job and
//	           bucket are               by range     is never      image are
//	           not sent again           requests     repeated      followed
//	                                                 blindly
//
// Between the POST and its recorded answer lies the one gap that no program can
// close. Every answer that does not prove that nothing was done, a server error
// included, leaves the import there: it looks for the image by its name and the
// object it was made of until the settle time is over ([WithSettleTime]). If that
// does not decide it, the error matches [ErrUncertain]; a second image is never
// created, and no object that a job may need is removed.
//
// After the request everything is waited for as long as the context lets it:
// flow control, server errors, records of jobs that vanish or are incomplete. An
// import whose image becomes active succeeds. Errors name the job, and Import
// returns what is known so far beside the error.
//
// # Events
//
// [WithEvents] reports what an import does: typed events with the import's id, one
// at a time, the last of which is [Finished].
//
// # Concurrency and security
//
// A Client is safe for concurrent use; [WithLimits] bounds what all its imports use
// together. Secrets are in no error, event, log or record of this package, nor in
// what %+v prints of [Credentials], even if a server returns them. Answers of the
// cloud are bounded and checked before they are used.
package quickimport
