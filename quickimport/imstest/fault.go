package imstest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault says which requests go wrong, and how. It is the one mechanism for all
// faults: [Server.Fail] takes it as a value, [ParseFault] reads it as text.
//
// The zero value of a matching field matches every request. Effects combine: a
// creation that is accepted, answered with 504 and listed late is
//
//	Fault{Op: OpCreate, Drop: true, Status: 504, ListLate: 3}
//
// A request is hit by one fault at most, the first added that matches it.
// Which requests are hit depends on their order alone, never on time.
type Fault struct {
	// Which requests.

	Op      Op     // the operation; OpJob covers both endpoints of a job
	Service string // OBS, IMS or IAM
	Method  string // of HTTP
	Path    string // a part of the path
	NotPath string // only paths that do not contain this: keys limited to one object
	Query   string // a part of the raw query
	State   string // of the job asked about, as the job really is: INIT, RUNNING, SUCCESS, FAIL
	After   Op     // only requests received after one of this operation succeeded
	Nth     int    // the first matching request that is hit, counted from 1 and whether or not another fault hit it; 0 is 1
	Count   int    // how many are hit from there on; 0 is 1, -1 is all

	// What happens before the request is carried out.

	Hook       func()        // called before anything else; it may block
	Delay      time.Duration // then this time passes
	DropBefore bool          // then the connection is closed, and the request is not carried out

	// What happens to the answer. With Drop the request is carried out and its
	// answer lost: the connection is closed or, with Status, another answer is
	// sent. Status without Drop answers without carrying the request out.

	Drop        bool
	Reset       bool          // a connection closed by Drop or DropBefore is reset (RST)
	Status      int           // of the answer made up by the fault; 200 with Shape or Body is an answer that makes no sense
	Code        string        // of that answer: IMG.xxxx, APIGW.xxxx or an OBS code; "" for one that goes with Status
	Message     string        // of that answer; [EchoRequest] in it is replaced
	Shape       Shape         // of that answer's body; "" for the form that the service documents
	Body        string        // of that answer, instead of one made of Code, Message and Shape; EchoRequest is replaced
	RetryAfter  string        // header of that answer: seconds, a date, or "+30s" for the date 30 seconds from now by the server's clock
	Header      http.Header   // further headers of that answer
	AnswerDelay time.Duration // between carrying the request out, its body read, and the first byte of the answer
	CutAfter    int64         // the answer's body ends after this many bytes with the connection; 0 is whole
	Trickle     time.Duration // the answer's body, from byte CutAfter on, is sent a byte at a time with this pause

	// What changes in an answer of the image service, or in what the request starts.

	Quirks    []Quirk                // applied in this order; those for the object store as well
	JobStatus string                 // replaces the status in a job's answer
	Edit      func(a map[string]any) // changes an answer that is a JSON object, after Quirks

	// What changes in the job or image that a creation starts.

	JobCode   string // the job fails with this code
	JobReason string // and for this reason
	ListLate  int    // the image is left out of this many answers to OpImages that would list it, its name free until then; -1 until Server.ListImages
}

// FlowControl refuses count creations with code: a code of the gateway
// (APIGW.0308) with status 429, another (IMG.0060) with 400.
func FlowControl(code string, count int) Fault {
	f := Fault{Op: OpCreate, Status: http.StatusBadRequest, Code: code, Message: "The system is busy. Please try again later.", Count: count}
	if strings.HasPrefix(code, "APIGW.") {
		f.Status = http.StatusTooManyRequests
	}
	return f
}

// ExpiredToken refuses one request to the image service as if its token had expired.
func ExpiredToken() Fault {
	return Fault{Service: IMS, Status: http.StatusUnauthorized, Code: codeAuth, Message: "Incorrect IAM authentication information: token expired"}
}

// AcceptThen carries a creation out but answers it with status, and leaves its
// image out of the next late lists.
func AcceptThen(status, late int) Fault {
	return Fault{Op: OpCreate, Drop: true, Status: status, ListLate: late}
}

type activeFault struct {
	Fault
	seen  int
	armed bool // a request of the operation After has succeeded
}

// Fail adds faults. The first fault added that matches a request hits it.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		f.Quirks, f.Header = slices.Clone(f.Quirks), f.Header.Clone()
		s.faults = append(s.faults, &activeFault{Fault: f, armed: f.After == ""})
	}
}

// ClearFaults removes all faults. Images held back by ListLate stay held back.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// match counts the request and returns the fault that hits it.
func (s *Server) match(r *Request) *Fault {
	state := s.ims.stateOf(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	var hit *Fault
	for _, f := range s.faults {
		if !f.armed || !f.matches(r, state) {
			continue
		}
		f.seen++
		n := f.seen - max(f.Nth, 1)
		if hit == nil && n >= 0 && (f.Count < 0 || n < max(f.Count, 1)) {
			c := f.Fault
			hit = &c
		}
	}
	return hit
}

func (f *Fault) matches(r *Request, state string) bool {
	return f.Op.covers(r.Op) &&
		(f.Service == "" || f.Service == r.Service) && (f.Method == "" || f.Method == r.Method) &&
		(f.State == "" || f.State == state) && strings.Contains(r.Path, f.Path) && strings.Contains(r.Query, f.Query) &&
		(f.NotPath == "" || !strings.Contains(r.Path, f.NotPath))
}

// arm starts the faults that wait for an operation to succeed.
func (s *Server) arm(op Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if op != "" && f.After.covers(op) {
			f.armed = true
		}
	}
}

func (f *Fault) has(q Quirk) bool { return f != nil && slices.Contains(f.Quirks, q) }
