package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/internal/pkgerr"
	"github.com/fastimage/fastimage/quickimport"
)

// usageError is a command line that cannot be run as it stands.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Text() string  { return pkgerr.Text(e.err) }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{pkgerr.Package("").Errorf(format, args...)}
}

// advisedError is an error with what to do about it.
type advisedError struct {
	err    error
	advice string
}

func (e *advisedError) Error() string { return e.err.Error() + "; " + e.advice }
func (e *advisedError) Text() string  { return pkgerr.Text(e.err) }
func (e *advisedError) Unwrap() error { return e.err }

// advisef returns an error with advice, which takes precedence over the table of
// advice.
func advisef(advice, format string, args ...any) error {
	return &advisedError{pkgerr.Package("").Errorf(format, args...), advice}
}

// diagnosis describes an error to the user; --json prints it as it is. The names
// are stable.
type diagnosis struct {
	Message  string    `json:"message"`
	Advice   string    `json:"advice"`      // what to do next, "" if nothing is known
	Code     string    `json:"code"`        // of the service, "" if it has none
	Status   int       `json:"exit_status"` // of the command
	Problems []problem `json:"problems"`    // of a refused import
}

// problem is a reason for which an import is refused.
type problem struct {
	Field  string `json:"field"` // as the service names it
	Flag   string `json:"flag"`  // that sets the field, "" if none does
	Value  string `json:"value"`
	Rule   string `json:"rule"` // what is wrong with it
	Advice string `json:"advice"`
	Code   string `json:"code"`           // of the service, "" if it has none
	Line   int    `json:"line,omitempty"` // of a manifest, whose name is Field
}

// diagnose explains why cmd failed.
func diagnose(cmd *cobra.Command, err error) diagnosis {
	d := diagnosis{Message: message(err), Advice: advice(cmd, err), Code: code(err), Status: status(err), Problems: []problem{}}
	if e, ok := errors.AsType[*manifestError](err); ok {
		for _, p := range e.problems {
			d.Problems = append(d.Problems, problem{Field: e.file, Rule: p.Text, Line: p.Line})
		}
		return d
	}
	refused, ok := errors.AsType[*quickimport.ValidationError](err)
	if !ok {
		return d
	}
	for _, p := range refused.Problems {
		d.Problems = append(d.Problems, explain(cmd, p))
	}
	d.Message, d.Advice = plural(len(d.Problems), "problem")+" found; nothing was uploaded", ""
	return d
}

// explain describes a problem in the terms of the command line.
func explain(cmd *cobra.Command, p quickimport.Problem) problem {
	out := problem{Field: p.Field, Flag: flagOf(p.Field), Value: p.Value, Rule: oneLine(p.Rule), Advice: problemAdvice(p), Code: p.Code}
	if p.Err != nil {
		out.Advice = cmp.Or(advice(cmd, p.Err), out.Advice)
	}
	if f := cmd.Flags().Lookup(strings.TrimPrefix(out.Flag, "--")); f == nil {
		out.Flag = ""
	} else if c, ok := f.Value.(interface{ values() []string }); ok {
		out.Advice += didYouMean(p.Value, c.values())
	}
	return out
}

// String is a problem as a line.
func (p problem) String() string {
	if p.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", p.Field, p.Line, p.Rule)
	}
	s := cmp.Or(p.Flag, p.Field)
	if p.Value != "" {
		s += fmt.Sprintf(" %q", p.Value)
	}
	s += ": " + p.Rule
	if p.Advice != "" {
		s += " (" + p.Advice + ")"
	}
	if p.Code != "" {
		s += " [" + p.Code + "]"
	}
	return s
}

// fail prints why cmd failed and returns the exit status: a line for each
// problem, or one JSON object on the last line.
func (a *app) fail(cmd *cobra.Command, args []string, err error) int {
	if e, ok := errors.AsType[*exitError](err); ok && e.err == nil && !a.interrupted {
		return e.status
	}
	d := diagnose(cmd, err)
	if a.interrupted {
		d.Status = exitInterrupted
		d.Message, d.Advice = "interrupted", a.afterInterruption(err)
	}
	if wantsJSON(cmd, args) {
		data, err := json.Marshal(map[string]diagnosis{"error": d})
		if err == nil { // strings and numbers cannot fail
			fmt.Fprintf(a.stderr, "%s\n", data)
		}
		return d.Status
	}
	name := a.painter(a.stderr)(red, "fastimage:")
	for _, p := range d.Problems {
		fmt.Fprintf(a.stderr, "%s %s\n", name, oneLine(p.String()))
	}
	fmt.Fprintf(a.stderr, "%s %s\n", name, oneLine(d.text()))
	return d.Status
}

// text is the message with the advice.
func (d *diagnosis) text() string {
	if d.Advice == "" {
		return d.Message
	}
	return strings.TrimRight(d.Message, ".; ") + "; " + d.Advice
}

// wantsJSON reports whether errors are to be JSON. The flags of a command line
// that is wrong may not have been read.
func wantsJSON(cmd *cobra.Command, args []string) bool {
	if f := cmd.Flags().Lookup("json"); f != nil && f.Changed {
		return f.Value.String() == "true"
	}
	for _, arg := range args {
		if arg == "--" {
			return false
		}
		if arg == "--json" {
			return true
		}
	}
	return false
}

// status is the exit status for an error.
func status(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.status
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*manifestError](err); ok {
		return exitRefused
	}
	if errors.Is(err, quickimport.ErrValidation) {
		return exitRefused
	}
	if _, ok := errors.AsType[*quickimport.JobError](err); ok {
		return exitJobFailed
	}
	return exitFailed
}

// code is that of the service, where it is the reason.
func code(err error) string {
	if e, ok := errors.AsType[*quickimport.JobError](err); ok {
		return cmp.Or(e.Job.ErrorCode, e.Job.Entities.ErrorCode)
	}
	if e, ok := errors.AsType[*quickimport.APIError](err); ok {
		return e.Code
	}
	return ""
}

// message is err on one line, without advice.
func message(err error) string { return oneLine(pkgerr.Text(err)) }

// afterInterruption is what to do about a command that was interrupted.
func (a *app) afterInterruption(err error) string {
	switch {
	case errors.Is(err, quickimport.ErrUncertain), errors.Is(err, quickimport.ErrStoppedWaiting):
		return message(err)
	case a.resumable:
		return "run the same command again to resume"
	}
	return "nothing was left behind; run the same command again to start over"
}

// afterTimeout turns err into that the time of --timeout is up, if ctx had it
// and err follows from its end: the network had no part in it.
func (a *app) afterTimeout(ctx context.Context, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, quickimport.ErrUncertain) || errors.Is(err, quickimport.ErrStoppedWaiting) {
		return err // the last two say what to do already
	}
	next := "start over"
	if a.resumable {
		next = "resume"
	}
	return advisef("run the same command again to "+next+", with a longer --timeout if it needs one", "the time of --timeout is up")
}

// oneLine removes what would break a line or control a terminal: names come
// from the user and from servers.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// optionFlags are the flags for options of an import.
var optionFlags = map[string]string{
	"WithFormat": "--format", "WithLevel": "--level", "WithWorkers": "--workers", "WithConcurrency": "--concurrency",
	"WithPartSize": "--part-size", "WithOverwrite": "--overwrite", "WithBitmapFile": "--mf", "WithBitmapLayout": "--mf-layout",
	"WithWait": "--no-wait", "WithDeleteObject": "--delete-object", "WithResubmit": "--resubmit", "WithStateDir": "--no-resume",
}

// optionError turns an option of the library that cannot be used into the flag
// that set it.
func optionError(err error) error {
	o, ok := errors.AsType[*quickimport.OptionError](err)
	if !ok {
		return err
	}
	flag := func(option string) string { return cmp.Or(optionFlags[option], option) }
	if o.Conflict != "" {
		return usagef("%s has no effect with %s; leave one out", flag(o.Option), flag(o.Conflict))
	}
	return usagef("%s: %s", flag(o.Option), o.Reason)
}
