package quickimport

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Conditions that errors of this package match with errors.Is.
var (
	ErrNoCredentials  = errors.New("no credentials")
	ErrAuthentication = errors.New("authentication failed")
	ErrForbidden      = errors.New("not allowed")
	ErrNotFound       = errors.New("not found")
	ErrNameTaken      = errors.New("image name taken")
	ErrObjectExists   = errors.New("object exists")
	ErrQuota          = errors.New("quota used up")
	ErrFlowControl    = errors.New("too many requests")
	ErrUncertain      = errors.New("outcome unknown")
	ErrValidation     = errors.New("refused before anything was sent")
	ErrState          = errors.New("the record of an earlier import stands against it")
	ErrImageFailed    = errors.New("the image was not made")
	ErrProtocol       = errors.New("unexpected answer")
)

// APIError is an answer of a service that is not a success, in either of the
// two forms in which the cloud gives them.
type APIError struct {
	Op         string // what was asked for: "create image", "job", "images", "project"
	StatusCode int
	Code       string // "IMG.0024", "APIGW.0301"; may be empty
	Message    string
	RequestID  string
	Retryable  bool // flow control, 429 and 5xx
}

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
	Field  string `json:"field"` // as the API names it; "file", "mf", "credentials", "project", "quota", "bucket" and "object" for the rest
	Rule   string `json:"rule"`
	Value  string `json:"value"`
	Advice string `json:"advice"`         // what to do about it
	Code   string `json:"code,omitempty"` // what the service answers or would answer, where that is documented
	Err    error  `json:"-"`              // the error behind it, where there is one
}

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
