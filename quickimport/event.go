package quickimport

import (
	"sync"
	"time"

	"github.com/fastimage/fastimage/internal/pkgerr"
)

// Phase is a step of an import.
type Phase string

// The phases, in order.
const (
	PhasePreflight Phase = "preflight" // checks, before anything is sent
	PhaseUpload    Phase = "upload"    // conversion and upload, in one pass
	PhaseVerify    Phase = "verify"    // the object is read back
	PhaseCreate    Phase = "create"    // the API call
	PhaseJob       Phase = "job"       // the service makes the image
)

// Event is something that happened in an import: a [PhaseStarted], [Progress],
// [PhaseFinished], [Retrying], [Warned], [Resumed] or [Finished]. Other types may
// be added.
//
// The events of one import come one at a time, in order; those of different
// imports may come at the same time. The last event of an import is Finished,
// whatever became of it.
type Event interface {
	// Header returns what all events have.
	Header() EventHeader
}

// EventHeader is part of every event.
type EventHeader struct {
	ImportID string    // that of [Result]; the same in all events of an import, and when it is resumed
	Time     time.Time // when it happened
}

// Header returns h.
func (h EventHeader) Header() EventHeader { return h }

// PhaseStarted is the begin of a phase.
type PhaseStarted struct {
	EventHeader
	Phase Phase
}

// PhaseFinished is the end of a phase.
type PhaseFinished struct {
	EventHeader
	Phase   Phase
	Seconds float64 // that it took
	Err     error   // nil if it succeeded
}

// Progress is how far a phase has come. In PhaseUpload the numbers are bytes; in
// PhaseJob Percent is what the service reports.
type Progress struct {
	EventHeader
	Phase   Phase // that is under way
	Done    int64 // bytes of the disk processed, zeros included
	Total   int64 // bytes of the disk
	Skipped int64 // of Done: zeros, which are not sent
	Object  int64 // bytes of the object made so far; 0 where the source is uploaded as it is
	Sent    int64 // bytes sent to the bucket
	Resumed int64 // bytes of the object that an earlier run had sent
	Retries int   // attempts to send a part that failed and were repeated
	Percent int   // 0 to 100, in PhaseJob
}

// Retrying is a request that failed and will be repeated.
type Retrying struct {
	EventHeader
	Request string        // what was asked for: "job", "images", "UploadPart"
	Part    int           // of an upload, 0 for other requests
	Attempt int           // the attempt that failed, from 1
	Wait    time.Duration // pause before the next one
	Reason  error         // why it failed
}

// Warned is a warning. Those of an import are in its Result, too.
type Warned struct {
	EventHeader
	Warning
}

// Resumed is an import that continues what an earlier run left.
type Resumed struct {
	EventHeader
	Stage string // that was reached: "uploading", "uploaded", "verified", "submitting", "submitted"
	Bytes int64  // of the object that are in the bucket and not sent again; 0 if not known yet, see Progress
}

// Finished is the last event.
type Finished struct {
	EventHeader
	Result *Result // what Import returned; nil if it failed before it began
	Err    error   // what Import returned
}

// Warning is something to know about an image or an import that did not stop it.
type Warning struct {
	Code WarningCode `json:"code"` // for programs
	Text string      `json:"text"` // for people, a sentence without a full stop
}

// String returns the text.
func (w Warning) String() string { return w.Text }

// WarningCode is what a warning is about.
type WarningCode string

// Codes of warnings. Others may be added.
const (
	WarnSource        WarningCode = "source"         // what the disk image says about itself
	WarnPartitions    WarningCode = "partitions"     // problems of the partition table
	WarnFirmware      WarningCode = "firmware"       // the disk does not fit the requested firmware
	WarnArchitecture  WarningCode = "architecture"   // the disk does not fit the requested architecture
	WarnBitmap        WarningCode = "bitmap"         // the bitmap file could not be checked
	WarnWindows       WarningCode = "windows"        // the service may refuse Windows images
	WarnOSVersion     WarningCode = "os-version"     // os_version could not be checked, or contradicts the guest
	WarnGuest         WarningCode = "guest"          // the examination of the guest found something
	WarnRestarted     WarningCode = "restarted"      // an upload started over
	WarnEncrypted     WarningCode = "encrypted"      // checksums could not be compared
	WarnLeftover      WarningCode = "leftover"       // something was left in the bucket
	WarnUnknownStatus WarningCode = "unknown-status" // the job has a state that is not documented
)

// eventState is the events of one import: it joins what the encoder, the
// uploader and the API client report, so that the caller gets one at a time.
type eventState struct {
	mu   sync.Mutex // guards what follows, and is held during f
	f    func(Event)
	id   string
	p    Progress
	over bool
}

func newEvents(id string, f func(Event)) *eventState {
	if f == nil {
		f = func(Event) {}
	}
	return &eventState{id: id, f: f}
}

// send reports the event that make returns for a header.
func (s *eventState) send(make func(EventHeader) Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.f(make(EventHeader{s.id, time.Now()}))
	}
}

// identify sets the import's id once it is known.
func (s *eventState) identify(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id = id
}

func (s *eventState) update(f func(*Progress)) {
	s.send(func(h EventHeader) Event {
		f(&s.p)
		s.p.EventHeader = h
		return s.p
	})
}

func (s *eventState) start(p Phase) {
	s.send(func(h EventHeader) Event {
		s.p = Progress{Phase: p}
		return PhaseStarted{h, p}
	})
}

func (s *eventState) end(p Phase, took time.Duration, err error) {
	s.send(func(h EventHeader) Event { return PhaseFinished{h, p, took.Seconds(), err} })
}

func (s *eventState) percent(n int) { s.update(func(p *Progress) { p.Phase, p.Percent = PhaseJob, n }) }

func (s *eventState) sent(n, resumed int64, retries int) {
	s.update(func(p *Progress) {
		p.Sent, p.Resumed, p.Retries = max(p.Sent, n), max(p.Resumed, resumed), max(p.Retries, retries)
	})
}

func (s *eventState) read(done, total, skipped, object int64) {
	s.update(func(p *Progress) {
		p.Done, p.Total, p.Skipped, p.Object = max(p.Done, done), total, skipped, max(p.Object, object)
	})
}

func (s *eventState) warn(w Warning) {
	s.send(func(h EventHeader) Event { return Warned{h, w} })
}

// finish reports the last event.
func (s *eventState) finish(res *Result, err error) {
	s.send(func(h EventHeader) Event {
		s.over = true
		return Finished{h, res, err}
	})
}

// pkg makes the errors of this package.
const pkg pkgerr.Package = "quickimport"
