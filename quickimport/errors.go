package quickimport

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Conditions that errors of this package match with errors.Is.
var (
	// ErrNoCredentials: the provider gave none, or a token alone where keys are
	// needed.
	ErrNoCredentials = errors.New("no credentials")
	// ErrAuthentication: the cloud does not accept the credentials.
	ErrAuthentication = errors.New("authentication failed")
	// ErrForbidden: the account has no right to what was asked for.
	ErrForbidden = errors.New("not allowed")
	// ErrNotFound: there is no such image, job, object or project.
	ErrNotFound = errors.New("not found")
	// ErrNameTaken: the project has an image of that name.
	ErrNameTaken = errors.New("image name taken")
	// ErrObjectExists: the bucket has an object of the target's key; see
	// [WithOverwrite].
	ErrObjectExists = errors.New("object exists")
	// ErrQuota: the project has as many images as it may have.
	ErrQuota = errors.New("quota used up")
	// ErrFlowControl: the service takes no more requests for the moment.
	ErrFlowControl = errors.New("too many requests")
	// ErrStoppedWaiting: the context ended while a job was followed. The job goes
	// on in the cloud; its id is in the text.
	ErrStoppedWaiting = errors.New("stopped waiting")
	// ErrUncertain: the answer to the create call was lost, and nothing tells
	// whether it was carried out; see [WithResubmit].
	ErrUncertain = errors.New("outcome unknown")
	// ErrValidation: the error is a [*ValidationError].
	ErrValidation = errors.New("refused before anything was sent")
	// ErrState: what [WithStateDir] holds cannot be read, or is of another import
	// of the same image that has not ended.
	ErrState = errors.New("the record of an earlier import stands against it")
	// ErrImageFailed: the job succeeded and its image did not become active. A job
	// that fails is a [*JobError].
	ErrImageFailed = errors.New("the image was not made")
	// ErrOption: the error is an [*OptionError].
	ErrOption = errors.New("option cannot be used")
	// ErrSizeRequired: a RAW [Stream] was given without its size.
	ErrSizeRequired = errors.New("the size of a RAW stream is required")
	// ErrStreamUsed: a [Stream] was opened again after it had been read.
	ErrStreamUsed = errors.New("the stream has been read already")
	// ErrProtocol: a service answered what it should not, or an object is not what
	// was written.
	ErrProtocol = errors.New("unexpected answer")
)

// APIError is an answer of a service that is not a success, in either of the
// two forms in which the cloud gives them.
type APIError struct {
	Op         string // what was asked for: "create image", "job", "images", "project"
	StatusCode int    // of HTTP
	Code       string // "IMG.0024", "APIGW.0301"; may be empty
	Message    string // the service's; may be empty
	RequestID  string // what the service's support asks for; may be empty
	Retryable  bool   // flow control, 429 and 5xx
}

// Error implements error.
func (e *APIError) Error() string {
	s := fmt.Sprintf("quickimport: %s: HTTP %d", e.Op, e.StatusCode)
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.RequestID != "" {
		s += " (request " + e.RequestID + ")"
	}
	return s
}

// Is reports whether e is of the condition target.
func (e *APIError) Is(target error) bool {
	switch target {
	case ErrAuthentication:
		return e.StatusCode == http.StatusUnauthorized
	case ErrForbidden:
		return e.StatusCode == http.StatusForbidden
	case ErrNotFound:
		return e.StatusCode == http.StatusNotFound || e.Code == "IMG.0121"
	case ErrNameTaken:
		return e.Code == "IMG.0009"
	case ErrQuota:
		return e.Code == "IMG.0015"
	case ErrFlowControl:
		return e.flowControl()
	}
	return false
}

func (e *APIError) flowControl() bool {
	return e.Code == "IMG.0060" || e.Code == "IMG.0194" || e.StatusCode == http.StatusTooManyRequests
}

// JobError is a job that ended with FAIL.
type JobError struct{ Job Job }

// Error implements error.
func (e *JobError) Error() string {
	j, s := e.Job, "quickimport: job "+e.Job.ID+" failed"
	for _, p := range [][2]string{{j.ErrorCode, j.FailReason}, {j.Entities.ErrorCode, j.Entities.Error},
		{j.Entities.AdditionErrorCode, j.Entities.AdditionErrorMsg}} {
		if part := strings.TrimSpace(p[0] + " " + p[1]); part != "" && !strings.Contains(s, part) {
			s += ": " + part
		}
	}
	return s
}

// A Problem is one reason for which a request or an import would fail.
type Problem struct {
	Field  string `json:"field"`          // as the API names it; "file", "mf", "credentials", "project", "quota", "bucket" and "object" for the rest
	Rule   string `json:"rule"`           // what it breaks
	Value  string `json:"value"`          // what was given, "" if nothing was
	Advice string `json:"advice"`         // what to do about it
	Code   string `json:"code,omitempty"` // what the service answers or would answer, where that is documented
	Err    error  `json:"-"`              // the error behind it, where there is one
}

// String gives field, value, rule and advice, without the code.
func (p Problem) String() string {
	s := p.Field
	if p.Value != "" {
		s += fmt.Sprintf(" %q", p.Value)
	}
	s += ": " + p.Rule
	if p.Advice != "" {
		s += " (" + p.Advice + ")"
	}
	return s
}

// ValidationError holds every problem found before anything was sent. It
// matches [ErrValidation] and the errors behind its problems.
type ValidationError struct{ Problems []Problem }

// Error implements error.
func (e *ValidationError) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = p.String()
	}
	return "quickimport: " + strings.Join(parts, "; ")
}

// Is reports whether target is [ErrValidation].
func (e *ValidationError) Is(target error) bool { return target == ErrValidation }

// Unwrap returns the errors behind the problems.
func (e *ValidationError) Unwrap() []error {
	var errs []error
	for _, p := range e.Problems {
		if p.Err != nil {
			errs = append(errs, p.Err)
		}
	}
	return errs
}
