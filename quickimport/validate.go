package quickimport

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fastimage/fastimage/uploader"
)

// Validate checks every documented rule of a create request. Its error is a
// [*ValidationError] with all problems.
func (m Image) Validate() error {
	var v validation
	m.validate(&v)
	return v.err()
}

func (m Image) validate(v *validation) {
	m = m.withDefaults()
	m.checkText(v)
	m.checkLocation(v)
	m.checkKind(v)
	m.checkTags(v)
}

type validation struct{ problems []Problem }

// check notes a broken rule: code is what the service would answer.
func (v *validation) check(ok bool, field, value, code string, reason Reason, rule string) {
	if !ok {
		v.problems = append(v.problems, Problem{Field: field, Reason: reason, Rule: rule, Value: value, Code: code})
	}
}

func (v *validation) err() error {
	if len(v.problems) == 0 {
		return nil
	}
	return &ValidationError{Problems: v.problems}
}

func nameRune(r rune) bool {
	return r == '-' || r == '.' || r == '_' || r == ' ' || unicode.Is(unicode.Han, r) || asciiAlnum(r)
}

func tagRune(r rune) bool { return r == '_' || r == '-' || asciiAlnum(r) }

func asciiAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

func only(s string, ok func(rune) bool) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !ok(r) })
}

func (m Image) checkText(v *validation) {
	n := utf8.RuneCountInString(m.Name)
	v.check(n >= 1, "name", m.Name, "IMG.0062", ReasonRequired, "is required")
	v.check(n <= 128, "name", m.Name, "IMG.0002", ReasonTooLong, fmt.Sprintf("must have at most 128 characters, not %d", n))
	trimmed := strings.TrimSpace(m.Name)
	v.check(only(trimmed, nameRune), "name", m.Name, "IMG.0003", ReasonCharacters, "takes letters, digits, '-', '.', '_', spaces and Chinese characters only")
	v.check(trimmed == m.Name, "name", m.Name, "IMG.0003", ReasonCharacters, "must not begin or end with a space")
	n = utf8.RuneCountInString(m.Description)
	v.check(n <= 1024, "description", m.Description, "IMG.0004", ReasonTooLong, fmt.Sprintf("must have at most 1024 characters, not %d", n))
	v.check(!strings.ContainsAny(m.Description, "\r\n<>"), "description", m.Description, "IMG.0054", ReasonCharacters, "must not contain line breaks, '<' or '>'")
}

func (m Image) checkLocation(v *validation) {
	v.check(uploader.CheckName(m.Bucket, "key") == nil, "bucket", m.Bucket, "IMG.0017", ReasonForm, "needs a bucket name: 3 to 63 lower-case letters, digits, '-' and '.'")
	// Without its spaces, which have a rule of their own.
	key := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return '-'
		}
		return r
	}, m.Key)
	v.check(uploader.CheckName("bucket", key) == nil, "key", m.Key, "IMG.0017", ReasonForm, "needs an object key of 1 to 1024 bytes of UTF-8, without control characters and without the segments '.' and '..'")
	v.check(!strings.ContainsFunc(m.Key, unicode.IsSpace), "key", m.Key, "IMG.0175", ReasonCharacters, "must not contain spaces")
	v.check(m.MinDisk >= 1 && m.MinDisk <= 1024, "min_disk", strconv.Itoa(m.MinDisk), "IMG.0055", ReasonRange, "must be 1 to 1024 GB")
}

// maxKey is the longest object key, in bytes.
const maxKey = 1024

var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func (m Image) checkKind(v *validation) {
	v.check(slices.Contains([]ImageType{TypeECS, TypeBMS, TypeData}, m.Type), "type", string(m.Type), "IMG.0024", ReasonChoice, "must be ECS, BMS or DataImage")
	if m.Type == TypeData {
		m.checkDataDisk(v)
	} else {
		m.checkSystemDisk(v)
	}
	id := m.EnterpriseProjectID
	v.check(id == "" || id == "0" || uuidPattern.MatchString(id), "enterprise_project_id", id, "IMG.0001", ReasonForm, "must be empty, 0 or a UUID")
}

func (m Image) checkDataDisk(v *validation) {
	const rule = "is not for data disks"
	v.check(m.OSVersion == "", "os_version", m.OSVersion, "IMG.0056", ReasonNotApplicable, rule)
	v.check(m.OSType == OSLinux || m.OSType == OSWindows, "os_type", string(m.OSType), "IMG.0122", ReasonChoice, "must be Linux or Windows")
	v.check(m.Architecture == "", "architecture", string(m.Architecture), "IMG.0212", ReasonNotApplicable, rule)
	v.check(m.HWFirmwareType == "", "hw_firmware_type", string(m.HWFirmwareType), "IMG.0141", ReasonNotApplicable, rule)
	v.check(m.LicenseType == "", "license_type", string(m.LicenseType), "IMG.0001", ReasonNotApplicable, rule)
}

func (m Image) checkSystemDisk(v *validation) {
	v.check(!strings.ContainsAny(m.OSVersion, "\r\n<>"), "os_version", m.OSVersion, "IMG.0056", ReasonCharacters, "must not contain line breaks, '<' or '>'")
	v.check(m.OSVersion != "", "os_version", m.OSVersion, "IMG.0159", ReasonRequired, "is required for system disks")
	v.check(m.OSType == "", "os_type", string(m.OSType), "IMG.0122", ReasonNotApplicable, "is for data disks only")
	v.check(slices.Contains([]Architecture{"", ArchX86, ArchARM}, m.Architecture), "architecture", string(m.Architecture), "IMG.0212", ReasonChoice, "must be x86 or arm")
	v.check(slices.Contains([]Firmware{"", FirmwareBIOS, FirmwareUEFI}, m.HWFirmwareType), "hw_firmware_type", string(m.HWFirmwareType), "IMG.0141", ReasonChoice, "must be bios or uefi")
	v.check(m.Architecture != ArchARM || m.HWFirmwareType != FirmwareBIOS, "hw_firmware_type", string(m.HWFirmwareType), "IMG.0141", ReasonConflict, "must be uefi with architecture arm")
	v.check(slices.Contains([]License{"", LicensePlatform, LicenseBYOL}, m.LicenseType), "license_type", string(m.LicenseType), "IMG.0001", ReasonChoice, "must be platform or byol")
	v.check(m.LicenseType == "" || m.windows(), "license_type", string(m.LicenseType), "IMG.0001", ReasonNotApplicable, "is for Windows only")
}

// maxTags is how many tags an image can have.
const maxTags = 10

func (m Image) checkTags(v *validation) {
	v.check(len(m.Tags) == 0 || len(m.ImageTags) == 0, "image_tags", "", "IMG.0116", ReasonConflict, "cannot be combined with tags")
	v.check(len(m.Tags) <= maxTags, "tags", strconv.Itoa(len(m.Tags)), "IMG.0115", ReasonTooMany, "an image has at most 10 tags")
	v.check(len(m.ImageTags) <= maxTags, "image_tags", strconv.Itoa(len(m.ImageTags)), "IMG.0115", ReasonTooMany, "an image has at most 10 tags")
	for _, t := range m.Tags {
		key, value, ok := strings.Cut(t, ".")
		v.check(ok && key != "" && len(key) <= 36 && len(value) <= 43, "tags", t, "IMG.0115", ReasonForm, "must be key.value with a key of 1 to 36 and a value of up to 43 characters")
		v.check(only(key, tagRune) && only(value, tagRune), "tags", t, "IMG.0115", ReasonCharacters, "takes letters, digits, '_' and '-' only")
	}
	for _, t := range m.ImageTags {
		// The service trims both.
		key, value := strings.TrimSpace(t.Key), strings.TrimSpace(t.Value)
		n := utf8.RuneCountInString(key)
		v.check(n >= 1 && n <= 36 && utf8.RuneCountInString(value) <= 43, "image_tags", t.Key+"="+t.Value, "IMG.0115", ReasonForm, "must have a key of 1 to 36 and a value of up to 43 characters")
	}
}
