package command

import (
	"strings"

	"github.com/fastimage/fastimage/quickimport"
)

// reasonAdvice is what to do about each kind of problem of a request.
var reasonAdvice = map[quickimport.Reason]string{
	quickimport.ReasonTooLong:       "shorten it",
	quickimport.ReasonCharacters:    "remove the other characters",
	quickimport.ReasonRange:         "choose a value in that range",
	quickimport.ReasonChoice:        "choose one of them",
	quickimport.ReasonNotApplicable: "leave it out",
	quickimport.ReasonConflict:      "leave one of them out",
	quickimport.ReasonTooMany:       "leave some out",
	quickimport.ReasonTooSmall:      "leave it out, and the disk's size is used",
	quickimport.ReasonTooLarge:      "use the service's ordinary import, or shrink the disk",
	quickimport.ReasonUnknown:       "use one that the region offers; 'fastimage os-versions' lists them",
	quickimport.ReasonMismatch:      "leave it out to use what the disk says, or override with --force",
	quickimport.ReasonInOrder:       "import it as zvhd2, or decompress it to a file first",
	quickimport.ReasonMissing:       "create one with 'fastimage bitmap' and upload it under this key",
	quickimport.ReasonStorageClass:  "change its storage class, or upload it again",
	quickimport.ReasonNotReady:      "fix the guest ('fastimage check' says how), or use --guest-check warn",
	quickimport.ReasonUnchecked:     "there may be more problems",
	quickimport.ReasonRequired:      "set it",
	quickimport.ReasonForm:          "correct it",
}

// problemAdvice is what to do about a problem that is no error of its own.
func problemAdvice(p quickimport.Problem) string {
	if len(p.Suggestions) > 0 {
		return "did you mean " + strings.Join(p.Suggestions, ", ") + "? 'fastimage os-versions' lists all"
	}
	switch {
	case p.Field == "os_version" && p.Reason == quickimport.ReasonRequired:
		return `name the system as the service lists it, e.g. "CentOS 7.0 64bit"`
	case p.Field == "key" && p.Reason == quickimport.ReasonCharacters:
		return "use '-' or '_' instead"
	case p.Field == "file" && p.Reason == quickimport.ReasonMismatch:
		return "check that it is a disk image; if it is, use --source-format raw"
	}
	return reasonAdvice[p.Reason]
}
