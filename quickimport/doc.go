// Package quickimport turns a disk image into a private image on Huawei Cloud,
// and on the clouds that run its API, through the Image Management Service's
// fast creation function.
//
//	disk image ──rawimage/anyimage──▶ zvhd2.Encode ──pipe──▶ uploader ──▶ OBS bucket
//	                                                                     │
//	image id ◀── WaitJob ◀── job id ◀── POST quickimport/action ◀────────┘
//
// [Client.Import] does all of it in one pass and without a temporary file.
// [Client.Create] makes an image of an object that lies in a bucket already;
// [Client.CreateImage], [Client.Job] and [Client.WaitJob] are single steps.
// [Client.Doctor] tries out what depends on the installation.
//
// # Preflight
//
// What can be checked is checked before the first byte of the disk is sent:
// the rules of the request ([Image.Validate]), the disk, and the cloud. Every
// problem is in one [ValidationError], with what to do about it.
// [Client.Plan] does just that, and says what would be sent.
//
// # An import's way
//
// With [WithStateDir] an import writes down what it has reached, and the same
// call goes on from there when the process has died:
//
//	planned ─▶ uploading ─▶ uploaded ─▶ verified ─▶ submitting ─▶ submitted ─▶ finished
//	           parts that              read back    POST, which   job and
//	           are there are           by range     is never      image are
//	           not sent again          requests     repeated      followed
//	                                                blindly
//
// Between POST and its recorded answer lies the one gap that no program can
// close: the image is looked up by its name and by the object it was made of.
// What cannot be decided is an error that matches [ErrUncertain] and says what
// to look at; a second image is never made.
//
// An import that fails for certain removes the objects that it uploaded, unless
// it is durable: then it goes on with them. They stay when the outcome is not
// known or the job still runs.
//
// # Concurrency and security
//
// A Client is safe for concurrent use. Secrets are in no error, event, log or
// record of this package, nor in what %+v prints of [Credentials]. Answers of
// the cloud are bounded and checked before they are used.
package quickimport
