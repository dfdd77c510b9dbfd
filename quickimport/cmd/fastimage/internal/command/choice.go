package command

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// choice is a flag that takes one of a few values.
type choice struct {
	allowed []string
	open    bool // other values are left to whoever checks them
}

// choiceFlag adds a flag that takes one of a few values, and refuses others.
func choiceFlag[S ~string](fl *pflag.FlagSet, p *S, name, def string, allowed []string, usage string) {
	addChoice(fl, p, name, def, usage, choice{allowed: allowed})
}

// openFlag adds a flag with a few usual values. It takes any: the import checks
// them, and reports all problems at once.
func openFlag[S ~string](fl *pflag.FlagSet, p *S, name string, usual []string, usage string) {
	addChoice(fl, p, name, "", usage, choice{allowed: usual, open: true})
}

func addChoice[S ~string](fl *pflag.FlagSet, p *S, name, def, usage string, c choice) {
	*p = S(def)
	fl.Var(&typedChoice[S]{choice: c, p: p}, name, usage)
	fl.Lookup(name).DefValue = def
}

type typedChoice[S ~string] struct {
	choice
	p *S
}

func (c *typedChoice[S]) Type() string     { return "string" }
func (c *typedChoice[S]) String() string   { return string(*c.p) }
func (c *typedChoice[S]) values() []string { return c.allowed }
func (c *typedChoice[S]) Set(s string) error {
	if !c.open && !slices.Contains(c.allowed, s) {
		return errors.New("want " + alternatives(c.allowed) + didYouMean(s, c.allowed))
	}
	*c.p = S(s)
	return nil
}

// alternatives is "a, b or c".
func alternatives(values []string) string {
	if len(values) < 2 {
		return strings.Join(values, "")
	}
	return strings.Join(values[:len(values)-1], ", ") + " or " + values[len(values)-1]
}

// count is a flag that takes a whole number of a range.
type count struct {
	n           *int
	least, most int
}

func (c count) Type() string { return "number" }

func (c count) String() string {
	if c.n == nil {
		return "0"
	}
	return strconv.Itoa(*c.n)
}

func (c count) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < c.least || n > c.most {
		return fmt.Errorf("want %d to %d", c.least, c.most)
	}
	*c.n = n
	return nil
}

// didYouMean suggests what of known the user may have meant, as the end of a
// sentence; it is empty if nothing is close.
func didYouMean(given string, known []string) string {
	if s := closest(given, known); s != "" {
		return fmt.Sprintf("; did you mean %s?", s)
	}
	return ""
}

// closest returns what of known is given but for a few letters, "" if nothing is.
func closest(given string, known []string) string {
	best, found := 3, ""
	given = strings.ToLower(given)
	for _, k := range known {
		lower := strings.ToLower(k)
		d := levenshtein.ComputeDistance(given, lower)
		if len(given) >= 2 && (strings.HasPrefix(lower, given) || strings.HasPrefix(given, lower)) {
			d = min(d, 2)
		}
		if d < best && d < max(len(given), 2) {
			best, found = d, k
		}
	}
	return found
}

// unknownCommand is the error for a command that does not exist.
func unknownCommand(parent *cobra.Command, name string) error {
	var names []string
	for _, c := range parent.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			names = append(names, c.Name())
		}
	}
	return usagef("unknown command %q%s; see '%s --help'", name, didYouMean(name, names), parent.CommandPath())
}

// flagError explains what is wrong with the flags of a command line.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := e.GetSpecifiedName()
		if e.GetSpecifiedShortnames() != "" {
			return usagef("unknown flag -%s; see '%s --help'", name, cmd.CommandPath())
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, "--"+f.Name)
			}
		})
		return usagef("unknown flag --%s%s; see '%s --help'", name, didYouMean("--"+name, names), cmd.CommandPath())
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return usagef("--%s %q: %w", e.GetFlag().Name, e.GetValue(), e.Unwrap())
	}
	return usagef("%w; see '%s --help'", err, cmd.CommandPath())
}
