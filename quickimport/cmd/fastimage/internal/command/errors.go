package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"unicode"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/uploader"
)

// usageError is a command line that cannot be run as it stands.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// optionFlags are the flags for options of an import.
var optionFlags = map[string]string{
	"WithFormat": "--format", "WithLevel": "--level", "WithWorkers": "--workers", "WithConcurrency": "--concurrency",
	"WithPartSize": "--part-size", "WithOverwrite": "--overwrite", "WithBitmapFile": "--mf", "WithBitmapLayout": "--mf-layout",
	"WithWait": "--no-wait", "WithDeleteObject": "--delete-object", "WithResubmit": "--resubmit", "WithStateDir": "--no-resume",
}

// flagError turns an option of the library that cannot be used into the flag
// that set it.
func flagError(err error) error {
	o, ok := errors.AsType[*quickimport.OptionError](err)
	switch {
	case !ok:
		return err
	case o.Conflict != "":
		return usagef("%s has no effect with %s; leave one out", flagName(o.Option), flagName(o.Conflict))
	}
	return usagef("%s: %s", flagName(o.Option), o.Reason)
}

func flagName(option string) string { return cmp.Or(optionFlags[option], option) }

// prefixes are in the order in which the packages wrap one another.
var prefixes = []string{"quickimport: ", "imstest: ", "uploader: ", "anyimage: ", "rawimage: ", "bitmap: ", "zvhd2: "}

// message is err on one line, with what to do next when that is known.
func message(err error) string {
	// The library's prefix says where an error comes from, which helps who
	// writes code with it; here the command has said it already.
	text := err.Error()
	for _, p := range prefixes {
		text = strings.TrimPrefix(text, p)
	}
	text = oneLine(text)
	if h := hint(err); h != "" {
		text = strings.TrimRight(text, ".; ") + "; " + h
	}
	return text
}

// messages are the lines for err: one for each problem of a refused import, one
// in all for anything else.
func messages(err error) []string {
	refused, ok := errors.AsType[*quickimport.ValidationError](err)
	if !ok {
		return []string{message(err)}
	}
	var lines []string
	for _, p := range refused.Problems {
		if h := hint(p.Err); h != "" {
			p.Advice = h // it names flags
		}
		p.Field = flagOf(p)
		line := p.String()
		if p.Code != "" {
			line += " [" + p.Code + "]"
		}
		lines = append(lines, oneLine(line))
	}
	return append(lines, fmt.Sprintf("refused for %d reason(s); nothing was uploaded", len(lines)))
}

// fieldFlags are the flags for fields of the request.
var fieldFlags = map[string]string{
	"name": "--name", "description": "--description", "min_disk": "--min-disk",
	"type": "--type", "os_type": "--os-type", "os_version": "--os-version",
	"architecture": "--architecture", "hw_firmware_type": "--firmware", "license_type": "--license",
	"tags": "--tag", "image_tags": "--image-tag", "enterprise_project_id": "--enterprise-project",
}

// flagOf names the flag for a problem's field: the service's name helps who
// writes requests, not who writes a command line.
func flagOf(p quickimport.Problem) string {
	if p.Field != "image_url" {
		return cmp.Or(fieldFlags[p.Field], p.Field)
	}
	// From --bucket and --key, or from obs://BUCKET/KEY.
	if strings.Contains(p.Rule, "bucket") {
		return "bucket"
	}
	return "key"
}

// advice is a warning of the library with the names of flags.
func advice(warning string) string {
	return oneLine(strings.ReplaceAll(warning, "hw_firmware_type", fieldFlags["hw_firmware_type"]))
}

// interruption is what to know of an interrupted command beyond that it was.
func (a *app) interruption(err error) string {
	switch {
	case errors.Is(err, quickimport.ErrUncertain), errors.Is(err, quickimport.ErrStoppedWaiting):
		return ": " + message(err)
	case a.resumable:
		return "; run the same command again to go on where it was"
	}
	return "; nothing half-written was left, run the same command to start again"
}

// oneLine takes out what would break a line or drive a terminal: names come
// from the user and from servers.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// hints are tried in order; the first that matches is shown.
var hints = []struct {
	is   error
	hint string
}{
	{rawimage.ErrNotImage, "name a disk image or a block device"},
	{rawimage.ErrEmpty, "check what was to write it"},
	{rawimage.ErrChanged, "stop whatever writes to it and start again"},
	{rawimage.ErrOutside, "name a directory that holds all its files with --references"},
	{rawimage.ErrMissingFile, "name the directory of its other files with --references, which they are looked for in"},
	{anyimage.ErrSize, "leave out --size to have it found, or fetch the file again"},
	{syscall.ENOSPC, "free space or choose another place for the output"},
	{quickimport.ErrNoCredentials, "set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, or use --ak and --sk"},
	{quickimport.ErrAuthentication, "check the access key, the secret key and this machine's clock"},
	{uploader.ErrCredentials, "check the access key, the secret key and this machine's clock"},
	{uploader.ErrNoSuchBucket, "create the bucket, or name another with --bucket"},
	{uploader.ErrWrongRegion, "use a bucket in the region of the image service"},
	{uploader.ErrAccessDenied, "the account needs rights on the bucket"},
	{quickimport.ErrForbidden, "the account needs rights on the image service and on the bucket"},
	{quickimport.ErrNameTaken, "choose another --name, or delete the image of that name"},
	{quickimport.ErrObjectExists, "choose another --key, or replace the object with --overwrite"},
	{quickimport.ErrQuota, "delete images or ask for a larger quota"},
	{quickimport.ErrFlowControl, "wait a minute and run the same command again"},
	{quickimport.ErrUncertain, "look for the image by its name before running the command again"},
	{context.DeadlineExceeded, "check the network and run the same command again"},
	{fs.ErrNotExist, "check the path"},
	{fs.ErrPermission, "check the permissions of the file and its directory"},
}

func hint(err error) string {
	if _, ok := errors.AsType[*usageError](err); ok {
		return ""
	}
	if _, ok := errors.AsType[*hinted](err); ok || errors.Is(err, quickimport.ErrStoppedWaiting) {
		return "" // it says what to do already
	}
	for _, h := range hints {
		if errors.Is(err, h.is) {
			return h.hint
		}
	}
	if e, ok := errors.AsType[*anyimage.UnsupportedError](err); ok {
		return convertHint(e.Format, e.Inside, e.Name)
	}
	if e, ok := errors.AsType[*rawimage.ForeignFormatError](err); ok {
		return convertHint(e.Format, "", e.Name)
	}
	if e, ok := errors.AsType[*anyimage.OpenError](err); ok {
		if e.Format == rawimage.FormatOVA && errors.Is(err, rawimage.ErrUnsupported) {
			return "choose one with --member"
		}
		return "fetch it again, or see what qemu-img info and qemu-img check say of it"
	}
	api, ok := errors.AsType[*quickimport.APIError](err)
	switch {
	case ok && api.Code == "IMG.0058":
		return "use a bucket in the region of the image service"
	case ok && api.Retryable:
		return "the service has trouble; run the same command again later"
	}
	return ""
}

// convertHint is the command that turns the file name into an image that is read.
func convertHint(format, inside rawimage.Format, name string) string {
	what := "convert it first: "
	if inside != "" {
		what, format = "decompress it first: ", inside
	}
	args, stdout := format.Command(name, "disk.raw")
	if args == nil {
		return ""
	}
	line := what + strings.Join(args, " ")
	if stdout {
		line += " > disk.raw"
	}
	return line
}

// hinted is an error whose text says what to do already.
type hinted struct{ err error }

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

func hintf(format string, args ...any) error { return &hinted{fmt.Errorf(format, args...)} }
