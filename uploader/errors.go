package uploader

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Conditions that a caller can test for with errors.Is. What the service said
// in detail is in the *Error around them.
var (
	// ErrConfig: options that are missing, out of range or contradict each other.
	ErrConfig = errors.New("uploader: invalid configuration")
	// ErrInvalidName: a bucket name or key that the service would refuse.
	ErrInvalidName = errors.New("uploader: invalid bucket name or key")
	// ErrPartSize: a part size out of range, or too small for the object.
	ErrPartSize = errors.New("uploader: part size out of range")
	// ErrTooLarge: the object is larger than the service or the caller allows.
	ErrTooLarge = errors.New("uploader: object too large")
	// ErrNoSuchBucket: the bucket does not exist.
	ErrNoSuchBucket = errors.New("uploader: no such bucket")
	// ErrNoSuchKey: the object does not exist.
	ErrNoSuchKey = errors.New("uploader: no such object")
	// ErrNoSuchUpload: the multipart upload is gone (completed, aborted or expired).
	ErrNoSuchUpload = errors.New("uploader: no such multipart upload")
	// ErrWrongRegion: the bucket is in another region than the client's.
	ErrWrongRegion = errors.New("uploader: bucket is in another region")
	// ErrStorageClass: the bucket's storage class is not the one asked for.
	ErrStorageClass = errors.New("uploader: bucket has another storage class")
	// ErrAccessDenied: the service refused the request for lack of rights.
	ErrAccessDenied = errors.New("uploader: access denied")
	// ErrCredentials: no credentials, wrong ones or expired ones.
	ErrCredentials = errors.New("uploader: invalid credentials")
	// ErrBadDigest: bytes were damaged on the way to the service, or a part is
	// not stored as it was sent.
	ErrBadDigest = errors.New("uploader: content damaged on the way")
	// ErrStalled: no byte moved for the whole stall timeout.
	ErrStalled = errors.New("uploader: transfer stalled")
	// ErrSource: the source of the upload could not be read.
	ErrSource = errors.New("uploader: source unreadable")
	// ErrSourceChanged: the source changed while it was being uploaded.
	ErrSourceChanged = errors.New("uploader: source changed during the upload")
	// ErrCopyRefused: the service does not make parts by copying (see ProbeCopy).
	ErrCopyRefused = errors.New("uploader: copying on the server refused")
	// ErrObjectChanged: the object was replaced or removed while it was being read.
	ErrObjectChanged = errors.New("uploader: object changed while reading")
	// ErrAnswer: the service answered what no service should, or far too much.
	ErrAnswer = errors.New("uploader: answer makes no sense")
	// ErrLocked: another upload works on the same target with the same state.
	ErrLocked = errors.New("uploader: target is in use by another upload")
	// ErrCleanup: something that was created could not be removed again.
	ErrCleanup = errors.New("uploader: clean-up failed")
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
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("uploader: ")
	b.WriteString(e.Op)
	if e.Bucket != "" {
		fmt.Fprintf(&b, " obs://%s/%s", e.Bucket, e.Key)
	}
	if e.Part > 0 {
		fmt.Fprintf(&b, " part %d", e.Part)
	}
	if e.Err != nil {
		b.WriteString(": " + strings.TrimPrefix(e.Err.Error(), "uploader: "))
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

func (e *sourceError) Error() string {
	return fmt.Sprintf("uploader: reading the source at offset %d: %v", e.off, e.err)
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

// wrap makes an *Error of what an SDK call returned.
func (t target) wrap(err error, attempts int) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: t.op, Bucket: t.bucket, Key: t.key, Part: t.part, Attempts: attempts}
	e.StatusCode, e.RequestID = httpDetails(err)
	var api smithy.APIError
	if errors.As(err, &api) {
		e.Code = api.ErrorCode()
	}
	e.Err = t.cause(err, e.StatusCode, e.Code)
	return e
}

// cause picks the sentinel for an answer of the service, or the innermost
// error where there was none. The SDK's own text is left out: it repeats the
// operation and host, and may quote the request.
func (t target) cause(err error, status int, code string) error {
	var src *sourceError
	if errors.As(err, &src) {
		return src
	}
	var changed *changedError
	if errors.As(err, &changed) {
		return changed
	}
	for _, s := range []error{ErrBadDigest, ErrStalled, ErrCredentials, ErrAnswer, ErrSourceChanged} {
		if errors.Is(err, s) {
			return trimSDK(err, s)
		}
	}
	if s := t.sentinel(status, code); s != nil {
		return withMessage(s, err)
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
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
func (e *messageError) Unwrap() error { return e.sentinel }

func withMessage(sentinel, err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorMessage() == "" {
		return sentinel
	}
	return &messageError{sentinel, clip(api.ErrorMessage())}
}

// clip bounds a text that a server chose.
func clip(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = s[:most] + "..."
	}
	return s
}

// trimSDK keeps our own marked error out of the SDK's layers around it.
func trimSDK(err, sentinel error) error {
	var m *markedError
	if errors.As(err, &m) {
		return m
	}
	return withMessage(sentinel, err)
}

// markedError is an error of ours that passes through the SDK.
type markedError struct {
	sentinel error
	err      error
}

func (e *markedError) Error() string   { return fmt.Sprintf("%v: %v", e.sentinel, e.err) }
func (e *markedError) Unwrap() []error { return []error{e.sentinel, e.err} }

// innermost unwraps the SDK's layers, whose texts repeat each other.
func innermost(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		return errors.New(clip(api.ErrorCode() + ": " + api.ErrorMessage()))
	}
	var send *smithyhttp.RequestSendError
	if errors.As(err, &send) {
		return send.Err
	}
	var op *smithy.OperationError
	if errors.As(err, &op) {
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
