package quickimport

import (
	"fmt"
	"strings"
)

// Conditions that errors of this package match with errors.Is.
var (
	// ErrNoCredentials: the provider gave none, or a token alone where keys are
	// needed.
	ErrNoCredentials = pkg.New("no credentials")
	// ErrAuthentication: the cloud does not accept the credentials.
	ErrAuthentication = pkg.New("authentication failed")
	// ErrForbidden: the account has no right to what was asked for.
	ErrForbidden = pkg.New("not allowed")
	// ErrNotFound: there is no such image, job, object or project.
	ErrNotFound = pkg.New("not found")
	// ErrNameTaken: the project has an image of that name.
	ErrNameTaken = pkg.New("image name taken")
	// ErrObjectExists: the bucket has an object of the target's key; see
	// [WithOverwrite].
	ErrObjectExists = pkg.New("object exists")
	// ErrQuota: the project has as many images as it may have.
	ErrQuota = pkg.New("quota used up")
	// ErrFlowControl: the service takes no more requests for the moment.
	ErrFlowControl = pkg.New("too many requests")
	// ErrStoppedWaiting: the context ended while a job was followed. The job
	// continues in the cloud.
	ErrStoppedWaiting = pkg.New("stopped waiting")
	// ErrUncertain: the answer to the create call was lost, and nothing tells
	// whether it was carried out; see [WithResubmit].
	ErrUncertain = pkg.New("outcome unknown")
	// ErrValidation: the error is a [*ValidationError].
	ErrValidation = pkg.New("refused before anything was sent")
	// ErrState: what [WithStateDir] holds cannot be read, or is of another import
	// of the same image that has not ended.
	ErrState = pkg.New("conflicts with the saved state of an earlier import")
	// ErrImageFailed: the job succeeded and its image did not become active. A job
	// that fails is a [*JobError].
	ErrImageFailed = pkg.New("the image was not created")
	// ErrOption: the error is an [*OptionError].
	ErrOption = pkg.New("option cannot be used")
	// ErrSizeRequired: a RAW [Stream] was given without its size.
	ErrSizeRequired = pkg.New("the size of a RAW stream is required")
	// ErrNotSeekable: a stream holds an image that has to be read in another order
	// than from its start to its end.
	ErrNotSeekable = pkg.New("cannot be read as a stream")
	// ErrStreamUsed: a [Stream] was opened again after it had been read.
	ErrStreamUsed = pkg.New("the stream has been read already")
	// ErrJobID: a text that cannot be the id of a job.
	ErrJobID = pkg.New("not a job id")
	// ErrMismatch: the request contradicts what the disk says about its firmware or
	// architecture; see [WithForce].
	ErrMismatch = pkg.New("the disk contradicts the request")
	// ErrOSVersion: the region does not list the os_version.
	ErrOSVersion = pkg.New("os_version is not offered")
	// ErrGuest: the guest on the disk is not ready for the cloud; see
	// [WithGuestCheck].
	ErrGuest = pkg.New("the guest is not ready for the cloud")
	// ErrProtocol: a service answered what it should not, or an object is not what
	// was written.
	ErrProtocol = pkg.New("unexpected answer")
)

// A Problem is one reason why a request or an import would fail.
type Problem struct {
	Field       string   `json:"field"`                 // as the API names it; "file", "mf", "credentials", "project", "quota", "bucket", "object" and "guest" for the rest
	Reason      Reason   `json:"reason"`                // what kind of problem it is
	Rule        string   `json:"rule"`                  // what is wrong, for people
	Value       string   `json:"value"`                 // what was given, "" if nothing was
	Code        string   `json:"code,omitempty"`        // what the service answers or would answer, if that is documented
	Suggestions []string `json:"suggestions,omitempty"` // values that would be accepted and are close to Value
	Err         error    `json:"-"`                     // the error behind it, if there is one
}

// Reason is the kind of a [Problem].
type Reason string

// Reasons. Others may be added.
const (
	ReasonRequired      Reason = "required"       // a field is missing
	ReasonTooLong       Reason = "too-long"       // a text is too long
	ReasonCharacters    Reason = "characters"     // a text has characters that are not allowed
	ReasonRange         Reason = "range"          // a number is out of range
	ReasonChoice        Reason = "choice"         // a value is none of those that exist
	ReasonForm          Reason = "form"           // a text does not have the required form
	ReasonNotApplicable Reason = "not-applicable" // a field is for another kind of image
	ReasonConflict      Reason = "conflict"       // two fields exclude each other
	ReasonTooMany       Reason = "too-many"       // a list is too long
	ReasonTooSmall      Reason = "too-small"      // the disk does not fit
	ReasonTooLarge      Reason = "too-large"      // the disk is larger than the service accepts
	ReasonUnknown       Reason = "unknown"        // the region does not offer the value; see Suggestions
	ReasonMismatch      Reason = "mismatch"       // the disk says otherwise
	ReasonInOrder       Reason = "in-order"       // the source can only be read in order
	ReasonMissing       Reason = "missing"        // an object is missing or empty
	ReasonStorageClass  Reason = "storage-class"  // an object is not of the class STANDARD
	ReasonNotReady      Reason = "not-ready"      // the guest will not work in the cloud
	ReasonUnchecked     Reason = "unchecked"      // something could not be checked, so there may be more problems
	ReasonError         Reason = "error"          // see Err
)

// String returns field, value and rule.
func (p Problem) String() string {
	s := p.Field
	if p.Value != "" {
		s += fmt.Sprintf(" %q", p.Value)
	}
	s += ": " + p.Rule
	if len(p.Suggestions) > 0 {
		s += "; close to it: " + strings.Join(p.Suggestions, ", ")
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
	return string(pkg) + ": " + strings.Join(parts, "; ")
}

// Text is Error without the name of the package.
func (e *ValidationError) Text() string { return strings.TrimPrefix(e.Error(), string(pkg)+": ") }

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
