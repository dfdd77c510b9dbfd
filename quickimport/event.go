package quickimport

import "sync"

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

// Event is the state of an import or a job. In PhaseUpload the numbers are
// bytes; in PhaseJob Percent is what the service reports, 0 to 100.
type Event struct {
	Phase   Phase // the step that is under way
	Done    int64 // bytes of the disk dealt with, zeros included
	Total   int64 // bytes of the disk
	Skipped int64 // of Done: zeros, which are not sent
	Object  int64 // bytes of the object made so far; 0 where the source goes up as it is
	Sent    int64 // bytes sent to the bucket
	Resumed int64 // bytes of the object that an earlier run had sent
	Retries int   // attempts to send a part that failed and were made again
	Percent int   // 0 to 100, in PhaseJob
}

// eventState joins what the encoder and the uploader report, so that the
// caller sees one event at a time.
type eventState struct {
	emit func(Event)
	mu   sync.Mutex
	e    Event // guarded by mu
}

func (s *eventState) update(f func(*Event)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.e)
	s.emit(s.e)
}

func (s *eventState) start(p Phase) { s.update(func(e *Event) { *e = Event{Phase: p} }) }
func (s *eventState) percent(n int) { s.update(func(e *Event) { e.Percent = n }) }
func (s *eventState) sent(n, resumed int64, retries int) {
	s.update(func(e *Event) {
		e.Sent, e.Resumed, e.Retries = max(e.Sent, n), max(e.Resumed, resumed), max(e.Retries, retries)
	})
}
func (s *eventState) read(done, total, skipped, object int64) {
	s.update(func(e *Event) {
		e.Done, e.Total, e.Skipped, e.Object = max(e.Done, done), total, skipped, max(e.Object, object)
	})
}
