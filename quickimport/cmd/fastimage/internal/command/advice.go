package command

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/uploader"
)

// advices are what to do about errors; the first that matches is shown. What is
// in braces is left out where the command lacks a flag that it names.
var advices = []struct {
	is     func(*cobra.Command, error) bool
	advice string
}{
	{is(quickimport.ErrNotSeekable), "save it to a file first, or decompress it on its way; a stream has to be RAW or ZVHD2"},
	{is(rawimage.ErrNotImage), "name a disk image or a block device"},
	{is(rawimage.ErrEmpty), "check the program that was to write it"},
	{is(rawimage.ErrChanged), "stop the program that writes to it, and start again"},
	{is(rawimage.ErrPart), "give the descriptor that lists all parts instead"},
	{is(rawimage.ErrDelta), "merge it with the disk it is based on, for example with 'qemu-img convert' or by removing the snapshot"},
	{is(rawimage.ErrRemote), "download the file that it names, and rebase the image on it with 'qemu-img rebase -u'"},
	{is(rawimage.ErrDevice), "read the device itself, or export the machine with its disks"},
	{is(rawimage.ErrEncrypted), "decrypt it first, with the program that encrypted it"},
	{is(rawimage.ErrOutside), "name a directory that holds all its files{ with --references}"},
	{is(rawimage.ErrMissingFile), "name the directory of its other files{ with --references}"},
	{is(anyimage.ErrTooLarge), "the service takes disks of up to 1 TiB"},
	{is(anyimage.ErrSize), "{leave out --size to have the size detected, or }download the file again"},
	{severalDisks, "choose one{ with --member}{, or import all with --all-disks}"},
	{is(rawimage.ErrTruncated), "download the file again"},
	{opening, "download it again, or look at it with 'qemu-img info' and 'qemu-img check'"},
	{is(syscall.ENOSPC), "free some space, or choose another place for the output"},
	{is(syscall.EROFS), "choose a directory that can be written to{, --state-dir for the state}"},
	{is(syscall.EADDRINUSE), "stop the program that uses the port, or choose another{ with --listen}; port 0 picks a free one"},
	{is(quickimport.ErrNoCredentials), "set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK{, or use --ak and --sk}"},
	{badToken, "the token is wrong or has expired; get a new one{ for --token}"},
	{is(quickimport.ErrAuthentication), "check the access key, the secret key and this machine's clock"},
	{is(uploader.ErrCredentials), "check the access key, the secret key and this machine's clock"},
	{is(uploader.ErrNoSuchBucket), "create the bucket, or choose another{ with --bucket}"},
	{is(uploader.ErrNoSuchKey), "check the key; 'fastimage upload' uploads an object"},
	{is(uploader.ErrWrongRegion), "use a bucket in the region of the image service{, or choose the region with --region}"},
	{is(uploader.ErrStorageClass), "use a bucket and an object of the storage class STANDARD"},
	{is(uploader.ErrInvalidName), "bucket names have 3 to 63 lower-case letters, digits, '-' and '.'; keys have 1 to 1024 bytes"},
	{is(uploader.ErrAccessDenied), "the account needs permission to read and write objects in the bucket"},
	{is(quickimport.ErrForbidden), "the account needs permissions for the image service and the bucket"},
	{is(quickimport.ErrNameTaken), "choose another name{ with --name}, or delete that image with 'fastimage images delete'"},
	{is(quickimport.ErrObjectExists), "choose another key{ with --key}, or replace the object{ with --overwrite}"},
	{is(quickimport.ErrQuota), "delete images that are not needed, or ask for a larger quota"},
	{is(quickimport.ErrFlowControl), "wait a minute and run the same command again"},
	{is(quickimport.ErrUncertain), "look for the image with 'fastimage images' first{; if there is none, run the command again with --resubmit}"},
	{is(quickimport.ErrStoppedWaiting), "'fastimage job --wait' follows it"},
	{is(quickimport.ErrState), "'fastimage state list' shows what is saved, 'fastimage state prune' removes it"},
	{regionCode, "use a bucket in the region of the image service"},
	{noSuchJob, "check the job's id{ and --region}: it is the one that an import printed"},
	{is(quickimport.ErrNotFound), "check the id, the region and the project"},
	{retryable, "the service has a problem; run the same command again later"},
	{is(context.DeadlineExceeded), "check the network and run the same command again"},
	{is(fs.ErrNotExist), "check the path"},
	{is(fs.ErrPermission), "check the permissions of the file and its directory"},
	{is(syscall.ECONNREFUSED), "nothing listens there; check the endpoint and the network"},
}

func is(target error) func(*cobra.Command, error) bool {
	return func(_ *cobra.Command, err error) bool { return errors.Is(err, target) }
}

// opening is an image that is damaged or of an unknown kind.
func opening(_ *cobra.Command, err error) bool {
	_, ok := errors.AsType[*anyimage.OpenError](err)
	return ok
}

func severalDisks(_ *cobra.Command, err error) bool {
	_, ok := errors.AsType[*anyimage.ChoiceError](err)
	return ok
}

func apiError(match func(*quickimport.APIError) bool) func(*cobra.Command, error) bool {
	return func(_ *cobra.Command, err error) bool {
		e, ok := errors.AsType[*quickimport.APIError](err)
		return ok && match(e)
	}
}

var (
	retryable  = apiError(func(e *quickimport.APIError) bool { return e.Retryable })
	regionCode = apiError(func(e *quickimport.APIError) bool { return e.Code == "IMG.0058" })
	noSuchJob  = apiError(func(e *quickimport.APIError) bool {
		return e.Op == "job" && errors.Is(e, quickimport.ErrNotFound) || e.Code == "IMG.0027"
	})
)

// badToken is a refusal by the image service of the token that was given. The
// object storage takes keys alone.
func badToken(cmd *cobra.Command, err error) bool {
	return cmd.Flags().Changed("token") && errors.Is(err, quickimport.ErrAuthentication)
}

// advice is what to do about an error of cmd, "" if nothing is known.
func advice(cmd *cobra.Command, err error) string {
	if e, ok := errors.AsType[*advisedError](err); ok {
		return fill(cmd, e.advice)
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return "" // its text says how it is used
	}
	if text := conversion(err); text != "" {
		return text
	}
	for _, a := range advices {
		if a.is(cmd, err) {
			return fill(cmd, a.advice)
		}
	}
	return ""
}

var (
	optional = regexp.MustCompile(`\{([^}]*)\}`)
	flagName = regexp.MustCompile(`--([a-z][a-z-]*)`)
)

// fill leaves out the parts in braces that name a flag which cmd lacks.
func fill(cmd *cobra.Command, advice string) string {
	return optional.ReplaceAllStringFunc(advice, func(part string) string {
		lacks := slices.ContainsFunc(flagName.FindAllStringSubmatch(part, -1), func(m []string) bool {
			return cmd.Flags().Lookup(m[1]) == nil
		})
		if lacks {
			return ""
		}
		return strings.Trim(part, "{}")
	})
}

// fieldFlags are the flags for fields of the request.
var fieldFlags = map[string]string{
	"name": "--name", "description": "--description", "min_disk": "--min-disk",
	"type": "--type", "os_type": "--os-type", "os_version": "--os-version",
	"architecture": "--architecture", "hw_firmware_type": "--firmware", "license_type": "--license",
	"tags": "--tag", "image_tags": "--image-tag", "enterprise_project_id": "--enterprise-project",
	"bucket": "--bucket", "key": "--key", "mf": "--mf",
}

// flagOf returns the flag that sets a field, "" if none does.
func flagOf(field string) string { return fieldFlags[field] }

// conversion is the shell command that turns a file of a format that is not read
// into one that is, "" if err is something else or there is none.
func conversion(err error) string {
	var format, inside rawimage.Format
	var name string
	if e, ok := errors.AsType[*anyimage.UnsupportedError](err); ok {
		format, inside, name = e.Format, e.Inside, e.Name
	} else if e, ok := errors.AsType[*rawimage.ForeignFormatError](err); ok {
		format, name = e.Format, e.Name
	}
	what := "convert it first: "
	if inside != "" {
		what, format = "decompress it first: ", inside
	}
	args, stdout := format.Command(name, "disk.raw")
	if args == nil {
		return ""
	}
	for i, arg := range args {
		args[i] = shellQuote(oneLine(arg))
	}
	if stdout {
		args = append(args, "> disk.raw")
	}
	return what + strings.Join(args, " ")
}
