// Package pkgerr makes errors that carry the name of their package exactly once.
//
// An error of package a that wraps one of package b reads "a: open x: no such
// key", not "a: open x: b: no such key": a reader wants to know which package
// was called, not how it is built. A program that shows errors to its users, who
// called no package, prints [Text], which has no such name at all.
package pkgerr

import (
	"errors"
	"fmt"
	"strings"
)

// Package is the name of a package, the prefix of its errors. The empty name
// makes errors without a prefix.
type Package string

// New returns an error with the text of the package, for sentinels.
func (p Package) New(text string) error { return &packageError{p, errors.New(text)} }

// Errorf is fmt.Errorf with the package's name in front and without the package
// names of the errors among args, whether they are wrapped (%w) or printed (%v).
func (p Package) Errorf(format string, args ...any) error {
	bare := make([]any, len(args))
	for i, arg := range args {
		if err, ok := arg.(error); ok {
			arg = textError{err}
		}
		bare[i] = arg
	}
	return &packageError{p, fmt.Errorf(format, bare...)}
}

// Text returns the message of err without any package name. Errors of this
// package, those with a method Text, and those that errors.Join has joined are
// looked into; any other says what its Error says.
func Text(err error) string {
	if t, ok := err.(interface{ Text() string }); ok {
		return t.Text()
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var was, texts []string
		for _, e := range joined.Unwrap() {
			was, texts = append(was, e.Error()), append(texts, Text(e))
		}
		if err.Error() == strings.Join(was, "\n") {
			return strings.Join(texts, "\n")
		}
	}
	return err.Error()
}

type packageError struct {
	pkg Package
	err error
}

func (e *packageError) Error() string {
	if e.pkg == "" {
		return e.err.Error()
	}
	return string(e.pkg) + ": " + e.err.Error()
}

func (e *packageError) Text() string  { return e.err.Error() }
func (e *packageError) Unwrap() error { return e.err }

// textError is an error as an argument of Errorf.
type textError struct{ err error }

func (e textError) Error() string { return Text(e.err) }
func (e textError) Unwrap() error { return e.err }
