package imstest

import (
	"net/http"
	"strings"
	"time"
)

// Fault is something that goes wrong with the requests it matches. The empty
// value of a matching field matches everything.
type Fault struct {
	Service string // OBS, IMS or IAM
	Method  string // of HTTP
	Path    string // a part of the path
	Query   string // a part of the raw query
	Nth     int    // the first matching request that is hit, counted from 1 and whether or not another fault hit it; 0 is 1
	Count   int    // how many are hit from there on; 0 is 1, -1 is all

	Delay      time.Duration // before anything else
	DropBefore bool          // close the connection without acting
	Drop       bool          // act, then close the connection without an answer
	Status     int           // answer this without acting; with Drop, after acting
	Code       string        // of that answer: IMG.xxxx, APIGW.xxxx or an OBS code
	Message    string        // of that answer
	RetryAfter string        // header of that answer

	JobCode   string // the job that this request starts fails with this code
	JobReason string // and for this reason
}

// FlowControl is the fault of a service that refuses count creations for the moment.
func FlowControl(code string, count int) Fault {
	return Fault{Service: IMS, Method: http.MethodPost, Status: http.StatusBadRequest, Code: code,
		Message: "The system is busy. Please try again later.", Count: count}
}

// ExpiredToken is the fault of a token that runs out once.
func ExpiredToken() Fault {
	return Fault{Service: IMS, Status: http.StatusUnauthorized, Code: codeAuth, Message: "Incorrect IAM authentication information: token expired"}
}

type activeFault struct {
	Fault
	seen int
}

// Fail adds faults. The first fault added that matches a request hits it.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		s.faults = append(s.faults, &activeFault{Fault: f})
	}
}

// ClearFaults takes all faults away.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) match(r *Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var hit *Fault
	for _, f := range s.faults {
		if f.Service != "" && f.Service != r.Service || f.Method != "" && f.Method != r.Method ||
			!strings.Contains(r.Path, f.Path) || !strings.Contains(r.Query, f.Query) {
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

func (f *Fault) answer(w http.ResponseWriter, r *http.Request, service string) {
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if service == OBS {
		code := f.Code
		if code == "" {
			code = "InternalError"
		}
		aw := &answer{ResponseWriter: w, id: requestID(r)}
		writeOBSError(aw, r, &obsError{f.Status, code, f.Message})
		return
	}
	code := f.Code
	if code == "" {
		code = "APIGW.0201"
	}
	writeAPIError(w, r, &apiError{f.Status, code, f.Message})
}
