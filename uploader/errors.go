package uploader

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/fastimage/fastimage/internal/cloud"
	"github.com/fastimage/fastimage/internal/pkgerr"
)

// pkg prefixes the errors of this package.
const pkg = pkgerr.Package("uploader")

// Conditions that a caller can test for with errors.Is. What the service said
// in detail is in the *Error around them.
var (
	// ErrConfig: options that are missing, out of range or contradict each other.
	ErrConfig = pkg.New("invalid configuration")
	// ErrInvalidName: a bucket name or key that the service would refuse.
	ErrInvalidName = pkg.New("invalid bucket name or key")
	// ErrPartSize: a part size out of range, or too small for the object.
	ErrPartSize = pkg.New("part size out of range")
	// ErrTooLarge: the object is larger than the service or the caller allows.
	ErrTooLarge = pkg.New("object too large")
	// ErrNoSuchBucket: the bucket does not exist.
	ErrNoSuchBucket = pkg.New("no such bucket")
	// ErrNoSuchKey: the object does not exist.
	ErrNoSuchKey = pkg.New("no such object")
	// ErrNoSuchUpload: the multipart upload is gone (completed, aborted or expired).
	ErrNoSuchUpload = pkg.New("no such multipart upload")
	// ErrWrongRegion: the bucket is in another region than the client's.
	ErrWrongRegion = pkg.New("bucket is in another region")
	// ErrStorageClass: the bucket's storage class is not the one asked for.
	ErrStorageClass = pkg.New("bucket has another storage class")
	// ErrAccessDenied: the service refused the request for lack of rights.
	ErrAccessDenied = pkg.New("access denied")
	// ErrCredentials: no credentials, wrong ones or expired ones.
	ErrCredentials = pkg.New("invalid credentials")
	// ErrBadDigest: bytes were damaged on the way to the service, or a part is
	// not stored as it was sent.
	ErrBadDigest = pkg.New("content damaged on the way")
	// ErrStalled: almost no byte moved for the whole stall timeout.
	ErrStalled = pkg.Errorf("%w", cloud.ErrStalled)
	// ErrSource: the source of the upload could not be read.
	ErrSource = pkg.New("source unreadable")
	// ErrSourceChanged: the source changed while it was being uploaded.
	ErrSourceChanged = pkg.New("source changed during the upload")
	// ErrCopyRefused: the service does not make parts by copying (see ProbeCopy).
	ErrCopyRefused = pkg.New("copying on the server refused")
	// ErrObjectChanged: the object was replaced or removed while it was being read.
	ErrObjectChanged = pkg.New("object changed while reading")
	// ErrAnswer: the service answered what no service should, or far too much.
	ErrAnswer = pkg.New("answer makes no sense")
	// ErrLocked: another upload works on the same target with the same state;
	// a *LockedError says which.
	ErrLocked = pkg.New("target is in use by another upload")
	// ErrNoLocks: the file system of the state directory has no locks.
	ErrNoLocks = pkg.New("file system without locks")
	// ErrState: the saved state was written by another version of this program.
	ErrState = pkg.New("saved state is of another version")
	// ErrCleanup: something that was created could not be removed again.
	ErrCleanup = pkg.New("clean-up failed")
)

// Error is a failed operation. It holds no secret and no signed URL.
type Error struct {
	Op         string // operation of the S3 protocol, e.g. "UploadPart"
	Bucket     string // that it was about
	Key        string // "" for operations on the bucket
	Part       int32  // 0 where there is no part
	StatusCode int    // HTTP status, 0 if there was no answer
	Code       string // error code of the service, e.g. "NoSuchBucket"
	RequestID  string // what the service's support asks for
	Attempts   int    // how often it was tried
	Err        error  // cause: a sentinel of this package, or an I/O or context error
}

// Error implements error.
func (e *Error) Error() string { return string(pkg) + ": " + e.Text() }

// Text is Error without the package's name.
func (e *Error) Text() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Bucket != "" {
		fmt.Fprintf(&b, " obs://%s/%s", e.Bucket, e.Key)
	}
	if e.Part > 0 {
		fmt.Fprintf(&b, " part %d", e.Part)
	}
	if e.Err != nil {
		b.WriteString(": " + pkgerr.Text(e.Err))
	}
	var notes []string
	if e.StatusCode != 0 {
		notes = append(notes, strings.TrimSpace(fmt.Sprintf("HTTP %d %s", e.StatusCode, e.Code)))
	}
	if e.RequestID != "" {
		notes = append(notes, "request "+e.RequestID)
	}
	if e.Attempts > 1 {
		notes = append(notes, fmt.Sprintf("%d attempts", e.Attempts))
	}
	if len(notes) > 0 {
		b.WriteString(" (" + strings.Join(notes, ", ") + ")")
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// badAnswer is an answer that another attempt would not make better.
func badAnswer(op, bucket, key, what string) error {
	return &Error{Op: op, Bucket: bucket, Key: key, Err: &finalError{&markedError{ErrAnswer, errors.New(what)}}}
}

// sourceError marks an error of the caller's reader, so that it is never
// mistaken for an error of the network and retried.
type sourceError struct {
	off int64
	err error
}

func (e *sourceError) Error() string { return string(pkg) + ": " + e.Text() }
func (e *sourceError) Text() string {
	return fmt.Sprintf("reading the source at offset %d: %s", e.off, pkgerr.Text(e.err))
}
func (e *sourceError) Unwrap() []error { return []error{ErrSource, e.err} }

// codeSentinels maps the service's error codes to our conditions.
var codeSentinels = map[string]error{
	"NoSuchBucket":                      ErrNoSuchBucket,
	"NoSuchKey":                         ErrNoSuchKey,
	"NoSuchUpload":                      ErrNoSuchUpload,
	"AccessDenied":                      ErrAccessDenied,
	"AllAccessDisabled":                 ErrAccessDenied,
	"InvalidAccessKeyId":                ErrCredentials,
	"SignatureDoesNotMatch":             ErrCredentials,
	"ExpiredToken":                      ErrCredentials,
	"InvalidToken":                      ErrCredentials,
	"InvalidSecurityToken":              ErrCredentials,
	"BadDigest":                         ErrBadDigest,
	"XAmzContentSHA256Mismatch":         ErrBadDigest,
	"EntityTooLarge":                    ErrTooLarge,
	"KeyTooLongError":                   ErrInvalidName,
	"InvalidBucketName":                 ErrInvalidName,
	"PermanentRedirect":                 ErrWrongRegion,
	"TemporaryRedirect":                 ErrWrongRegion,
	"AuthorizationHeaderMalformed":      ErrWrongRegion,
	"IllegalLocationConstraint":         ErrWrongRegion,
	"PreconditionFailed":                ErrObjectChanged,
	"InvalidObjectState":                ErrStorageClass,
	"RequestTimeTooSkewed":              ErrCredentials,
	"NoSuchBucketPolicy":                ErrNoSuchKey,
	"VirtualHostDomainRequired":         ErrConfig,
	"AuthorizationQueryParametersError": ErrCredentials,
}

// target names what an operation works on.
type target struct {
	op, bucket, key string
	part            int32
}

// fail makes an *Error of something that we found out.
func (t target) fail(err error) error { return t.wrap(err, 1, cloud.Credentials{}) }

// wrap makes an *Error of what an SDK call with those keys returned.
func (t target) wrap(err error, attempts int, keys cloud.Credentials) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: t.op, Bucket: t.bucket, Key: t.key, Part: t.part, Attempts: attempts}
	status, id := httpDetails(err)
	e.StatusCode, e.RequestID = status, keys.Redact(id)
	message := ""
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		e.Code = cloud.Clip(keys.Redact(api.ErrorCode()))
		message = cloud.Clip(keys.Redact(api.ErrorMessage()))
	}
	e.Err = t.cause(err, e, message)
	return e
}

// cause picks the sentinel for an answer of the service, or the innermost
// error where there was none. The SDK's own text is left out: it repeats the
// operation and host, and may quote the request.
func (t target) cause(err error, e *Error, message string) error {
	if src, ok := errors.AsType[*sourceError](err); ok {
		return src
	}
	if changed, ok := errors.AsType[*changedError](err); ok {
		return changed
	}
	if p := cloud.Permanent(err, e.Attempts); p != nil {
		return p
	}
	if errors.Is(err, cloud.ErrStalled) {
		return &markedError{ErrStalled, errors.New("(almost) no byte moved for the stall timeout")}
	}
	for _, s := range []error{ErrBadDigest, ErrCredentials, ErrAnswer, ErrSourceChanged} {
		if errors.Is(err, s) {
			return trimSDK(err, s, message)
		}
	}
	if s := t.sentinel(e.StatusCode, e.Code); s != nil {
		return withMessage(s, message)
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	if is[smithy.APIError](err) {
		return errors.New(strings.Trim(e.Code+": "+message, ": "))
	}
	return innermost(err)
}

// sentinel maps status and code to a condition; nil if there is none.
func (t target) sentinel(status int, code string) error {
	if s, ok := codeSentinels[code]; ok {
		return s
	}
	switch status {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect:
		return ErrWrongRegion
	case http.StatusUnauthorized:
		return ErrCredentials
	case http.StatusForbidden:
		return ErrAccessDenied
	case http.StatusPreconditionFailed:
		return ErrObjectChanged
	case http.StatusNotFound:
		// A HEAD answer has no body and so no code: the operation decides.
		if t.key == "" {
			return ErrNoSuchBucket
		}
		return ErrNoSuchKey
	}
	return nil
}

// messageError is a sentinel with what the service said about it.
type messageError struct {
	sentinel error
	message  string
}

func (e *messageError) Error() string { return e.sentinel.Error() + ": " + e.message }
func (e *messageError) Text() string  { return pkgerr.Text(e.sentinel) + ": " + e.message }
func (e *messageError) Unwrap() error { return e.sentinel }

func withMessage(sentinel error, message string) error {
	if message == "" {
		return sentinel
	}
	return &messageError{sentinel, message}
}

// clip bounds a text that a server chose.
func clip(s string) string { return cloud.Clip(s) }

// trimSDK keeps our own marked error out of the SDK's layers around it.
func trimSDK(err, sentinel error, message string) error {
	if m, ok := errors.AsType[*markedError](err); ok {
		return m
	}
	return withMessage(sentinel, message)
}

// markedError is an error of ours that passes through the SDK.
type markedError struct {
	sentinel error
	err      error
}

func (e *markedError) Error() string   { return string(pkg) + ": " + e.Text() }
func (e *markedError) Text() string    { return pkgerr.Text(e.sentinel) + ": " + pkgerr.Text(e.err) }
func (e *markedError) Unwrap() []error { return []error{e.sentinel, e.err} }

// innermost unwraps the SDK's layers, whose texts repeat each other.
func innermost(err error) error {
	if send, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return send.Err
	}
	if op, ok := errors.AsType[*smithy.OperationError](err); ok {
		return op.Err
	}
	return err
}

// httpDetails returns status and request id of the answer behind err.
func httpDetails(err error) (int, string) {
	var re *smithyhttp.ResponseError
	if !errors.As(err, &re) || re.Response == nil || re.Response.Response == nil {
		return 0, ""
	}
	return re.HTTPStatusCode(), requestID(re.Response.Header)
}

func requestID(h http.Header) string {
	for _, name := range []string{"X-Amz-Request-Id", "X-Obs-Request-Id", "X-Request-Id"} {
		if id := h.Get(name); id != "" {
			return clip(id)
		}
	}
	return ""
}
