package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/internal/pkgerr"
	"github.com/fastimage/fastimage/rawimage/guest"
)

// checkFlags are those of check.
type checkFlags struct {
	source       sourceFlags
	bucket       bucketFlags
	firmware     string
	architecture string
	osVersion    string
	json         bool
}

func (a *app) checkCmd() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [flags] IMAGE",
		Short: "examine whether the system on an image will boot in the cloud",
		Long: `Check examines the operating system on a disk image: whether a server created from
the image will boot, and will have a network. Importing changes nothing inside
an image, so a system that was made for another platform may need to be prepared
first. Check reads a few tens of MiB, whatever the size of the disk, and writes
nothing.

It prints what fails and what is worth a warning, with the place in the guest and
how to fix it; --verbose lists all checks. Exit status: 0 ready, 1 not ready, 3
the guest could not be examined (an image that cannot be read, encrypted, or an
unknown file system).

With --json it prints one object: examined, reason, os (type, id, id_like, name,
version, edition, build, pretty), kernel, architecture, firmware, root,
boot_loader, volumes, volume_groups, findings (each check, status, summary,
evidence, fix, guide) and reads.`,
		Example: `  fastimage check testdata/disk.raw || echo "not ready: $?"`,
		Args:    argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.check(cmd.Context(), args[0], &f)
		},
	}
	topic(cmd, topicImage, func(fl *pflag.FlagSet) {
		choiceFlag(fl, &f.firmware, "firmware", "auto", []string{"auto", "bios", "uefi"}, "firmware of the servers: auto (what the disk is made for), bios or uefi")
		choiceFlag(fl, &f.architecture, "architecture", "auto", []string{"auto", "x86", "arm"}, "architecture of the servers: auto (that of the guest), x86 or arm")
		fl.StringVar(&f.osVersion, "os-version", "", "compare the guest with this operating system")
	})
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) { jsonFlag(fl, &f.json) })
	f.source.add(cmd)
	f.bucket.add(a, cmd)
	return cmd
}

// auto turns the flag value "auto" into the library's.
func auto(value string) string {
	if value == "auto" {
		return ""
	}
	return value
}

func (a *app) check(ctx context.Context, name string, f *checkFlags) error {
	src, err := a.openAny(ctx, name, &f.source, &f.bucket)
	if _, ok := errors.AsType[*usageError](err); err != nil && !ok && ctx.Err() == nil {
		err = &exitError{exitRefused, err} // 1 would say that the guest is not ready
	}
	if err != nil {
		return err
	}
	defer src.Close()
	var disk io.ReaderAt
	switch {
	case src.Disk != nil:
		disk = src.Disk
	case src.Container != nil:
		disk = src.Container
	default:
		return &exitError{exitRefused, advisef("decompress it, or convert it to RAW first", "%s is %s, which can only be read in order: the guest cannot be examined", name, src.Format())}
	}
	rep, err := guest.Examine(ctx, disk, src.Size(), guest.WithFirmware(guest.Firmware(auto(f.firmware))),
		guest.WithArchitecture(auto(f.architecture)), guest.WithOSVersion(f.osVersion))
	if err = src.unchanged(err); err != nil {
		return err
	}
	if f.json {
		err = a.printJSON(rep)
	} else {
		err = a.print(a.guestReport(name, rep))
	}
	switch {
	case err != nil:
		return err
	case !rep.Examined, !rep.Ready() && rep.Count(guest.StatusFail) == 0: // something decisive could not be examined
		return &exitError{status: exitRefused}
	case !rep.Ready():
		return &exitError{status: exitFailed}
	}
	return nil
}

// exitError ends the command with a status of its own. err is nil if all has been
// printed.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

// Text is the message without advice.
func (e *exitError) Text() string {
	if e.err == nil {
		return e.Error()
	}
	return pkgerr.Text(e.err)
}

func (e *exitError) Unwrap() error { return e.err }

// guestReport is a report for people.
func (a *app) guestReport(name string, r *guest.Report) string {
	paint := a.painter(a.stdout)
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", oneLine(name), oneLine(guestLine(r)))
	good := 0
	for _, f := range r.Findings {
		if !a.verbose && (f.Status == guest.StatusOK || f.Status == guest.StatusNote) {
			good++
			continue
		}
		b.WriteString(findingLines(paint, f))
	}
	if good > 0 {
		fmt.Fprintf(&b, "  %s    %d more checks (--verbose lists them)\n", paint(green, "ok"), good)
	}
	b.WriteString(verdict(r) + "\n")
	return b.String()
}

// guestLine is what a guest is, in a line.
func guestLine(r *guest.Report) string {
	parts := []string{cmp.Or(r.OS.String(), "unknown system")}
	if r.Kernel != "" {
		parts = append(parts, "kernel "+r.Kernel)
	}
	if len(r.Firmware) > 0 {
		var names []string
		for _, f := range r.Firmware {
			names = append(names, strings.ToUpper(string(f)))
		}
		parts = append(parts, strings.Join(names, " or "))
	}
	if r.Root.Type != "" {
		where := " on " + r.Root.Name
		if strings.Contains(r.Root.Name, "/") {
			where = " on LVM (" + r.Root.Name + ")"
		}
		parts = append(parts, r.Root.Type+where)
	}
	return strings.Join(parts, ", ")
}

var statusWords = map[guest.Status]string{
	guest.StatusFail: "FAIL", guest.StatusWarn: "WARN", guest.StatusUnknown: "????", guest.StatusNote: "note", guest.StatusOK: "ok",
}

var statusStyles = map[guest.Status]style{guest.StatusFail: red, guest.StatusWarn: yellow, guest.StatusUnknown: yellow, guest.StatusOK: green}

func findingLines(paint painter, f guest.Finding) string {
	word := fmt.Sprintf("%-4s", cmp.Or(statusWords[f.Status], string(f.Status)))
	if s := statusStyles[f.Status]; s != "" {
		word = paint(s, word)
	}
	out := fmt.Sprintf("  %s  %-18s %s\n", word, f.Check, oneLine(f.Summary))
	for _, e := range f.Evidence {
		place := e.Path
		if e.Line > 0 {
			place += fmt.Sprintf(":%d", e.Line)
		}
		out += "        " + oneLine(strings.TrimSpace(place+" "+e.Text)) + "\n"
	}
	if f.Fix != "" {
		out += "        fix: " + oneLine(f.Fix) + "\n"
	}
	return out
}

// verdict is the last line of a report.
func verdict(r *guest.Report) string {
	if !r.Examined {
		return oneLine(cmp.Or(r.Reason, "could not be examined"))
	}
	failures, warnings := r.Count(guest.StatusFail), r.Count(guest.StatusWarn)
	counts := slices.DeleteFunc([]string{plural(failures, "failure"), plural(warnings, "warning")}, func(s string) bool { return strings.HasPrefix(s, "0 ") })
	text := strings.Join(counts, ", ")
	switch {
	case failures > 0:
		return text + ": servers created from this image will not work until the failures are fixed"
	case !r.Ready():
		return "whether servers created from this image will boot could not be examined"
	case warnings > 0:
		return text + ": servers created from this image will boot"
	}
	return "ready: servers created from this image will boot"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
