package imstest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseFault reads a fault from text:
//
//	WHAT:EFFECT[,EFFECT...][:COUNT]
//
// WHAT is an operation ([Op]), a service (obs, ims, iam) or "any". COUNT is
// how many requests are hit, "all", or "N+COUNT" to begin with the Nth; 1 if
// it is left out. An EFFECT is one of
//
//	503                   answer with this status, without carrying the request out
//	503-after-accept      carry the request out, then answer with this status
//	drop, reset           close or reset the connection, without carrying the request out
//	drop-after-accept     carry the request out, then close the connection
//	reset-after-accept    carry the request out, then reset the connection
//	no-image-id, ...      any [Quirk]
//	code=IMG.0060         the made-up answer's code
//	message=TEXT          its message; {request} becomes the request
//	body=TEXT             its body; {request} becomes the request
//	shape=html            its [Shape]
//	retry-after=+30s      its Retry-After: seconds, or + and a duration for a date
//	delay=200ms           wait before the request is carried out
//	answer-delay=200ms    wait before it is answered
//	cut-after=1000        end the answer's body after so many bytes
//	trickle=1s            send it a byte at a time, from cut-after on
//	job-status=ERROR      status in a job's answer
//	job-code=IMG.0057     the job of a creation fails with this code
//	job-reason=TEXT       and for this reason
//	list-late=3           the image of a creation is left out of so many lists; "release" until ListImages
//	state=SUCCESS         only for jobs in this state
//	after=complete-upload only once this operation has succeeded
//	method=PUT, path=PART, not-path=PART, query=PART   only requests like this
//
// Values contain no comma; with [Server.Fail] they can. A colon is part of the
// value unless a COUNT follows it.
//
//	create:504-after-accept,list-late=3:1
//	job:no-image-id,state=SUCCESS:all
//	ims:429,code=APIGW.0308,retry-after=+60s:20
//	head-object:403,after=complete-upload:1
func ParseFault(text string) (Fault, error) {
	f, err := parseFault(text)
	if err != nil {
		return Fault{}, errs.Errorf("fault: %w", err)
	}
	return f, nil
}

func parseFault(text string) (f Fault, err error) {
	what, rest, ok := strings.Cut(text, ":")
	if !ok || rest == "" {
		return f, fmt.Errorf("no effect; expected WHAT:EFFECT[,EFFECT...][:COUNT]")
	}
	switch {
	case what == OBS || what == IMS || what == IAM:
		f.Service = what
	case slices.Contains(allOps, Op(what)):
		f.Op = Op(what)
	case what != "any":
		return f, fmt.Errorf("unknown operation %q; expected any, obs, ims, iam, %s", what, names(allOps))
	}
	if i := strings.LastIndex(rest, ":"); i >= 0 {
		if n, count, ok := parseCount(rest[i+1:]); ok {
			f.Nth, f.Count, rest = n, count, rest[:i]
		}
	}
	for e := range strings.SplitSeq(rest, ",") {
		if err := f.parseEffect(e); err != nil {
			return f, err
		}
	}
	return f, nil
}

func parseCount(s string) (nth, count int, ok bool) {
	first, rest, two := strings.Cut(s, "+")
	if two {
		n, err := strconv.Atoi(first)
		if err != nil || n < 1 {
			return 0, 0, false
		}
		nth, s = n, rest
	}
	if s == "all" {
		return nth, -1, true
	}
	count, err := strconv.Atoi(s)
	return nth, count, err == nil && count >= 1
}

func (f *Fault) parseEffect(e string) error {
	if name, value, ok := strings.Cut(e, "="); ok {
		return f.parseSetting(name, value)
	}
	act, accepted := strings.CutSuffix(e, "-after-accept")
	switch act {
	case "drop", "reset":
		f.Drop, f.DropBefore, f.Reset = accepted, !accepted, act == "reset"
		return nil
	}
	if n, err := strconv.Atoi(act); err == nil {
		if n < 200 || n > 599 {
			return fmt.Errorf("status %d is not between 200 and 599", n)
		}
		f.Status, f.Drop = n, accepted
		return nil
	}
	if q := Quirk(e); quirks[q] != nil || slices.Contains(otherQuirks, q) {
		f.Quirks = append(f.Quirks, q)
		return nil
	}
	return fmt.Errorf("unknown effect %q; expected a status, drop, reset, either with -after-accept, a setting such as delay=1s, or a quirk: %s", e, quirkNames())
}

func (f *Fault) parseSetting(name, value string) (err error) {
	texts := map[string]*string{"code": &f.Code, "message": &f.Message, "body": &f.Body, "retry-after": &f.RetryAfter,
		"job-status": &f.JobStatus, "job-code": &f.JobCode, "job-reason": &f.JobReason, "state": &f.State,
		"method": &f.Method, "path": &f.Path, "not-path": &f.NotPath, "query": &f.Query}
	durations := map[string]*time.Duration{"delay": &f.Delay, "answer-delay": &f.AnswerDelay, "trickle": &f.Trickle}
	switch {
	case value == "":
		return fmt.Errorf("%s is empty", name)
	case texts[name] != nil:
		*texts[name] = value
		return nil
	case durations[name] != nil:
		*durations[name], err = time.ParseDuration(value)
		if err == nil && *durations[name] < 0 {
			err = fmt.Errorf("%s is negative", name)
		}
		return err
	}
	switch name {
	case "shape":
		if f.Shape = Shape(value); !slices.Contains(allShapes, f.Shape) {
			return fmt.Errorf("unknown shape %q; expected %s", value, names(allShapes))
		}
	case "after":
		if f.After = Op(value); !slices.Contains(allOps, f.After) {
			return fmt.Errorf("unknown operation %q; expected %s", value, names(allOps))
		}
	case "list-late":
		if value == "release" {
			f.ListLate = -1
			return nil
		}
		f.ListLate, err = positive(name, value)
		return err
	case "cut-after":
		n, err := positive(name, value)
		f.CutAfter = int64(n)
		return err
	default:
		return fmt.Errorf("unknown setting %q", name)
	}
	return nil
}

func positive(name, value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s=%s is not a number above 0", name, value)
	}
	return n, nil
}

func names[T ~string](list []T) string {
	var b strings.Builder
	for i, n := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(n))
	}
	return b.String()
}

func quirkNames() string {
	all := slices.Clone(otherQuirks)
	for q := range quirks {
		all = append(all, q)
	}
	slices.Sort(all)
	return names(all)
}
