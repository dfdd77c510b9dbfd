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

// check notes a broken rule: the code is what the service would answer, the
// advice what to do about it.
func (v *validation) check(ok bool, field, value, code, rule, advice string) {
	if !ok {
		v.problems = append(v.problems, Problem{Field: field, Rule: rule, Value: value, Code: code, Advice: advice})
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
	v.check(n >= 1, "name", m.Name, "IMG.0062", "is required", "give the image a name")
	v.check(n <= 128, "name", m.Name, "IMG.0002", "must have at most 128 characters", fmt.Sprintf("shorten it by %d", n-128))
	trimmed := strings.TrimSpace(m.Name)
	v.check(only(trimmed, nameRune), "name", m.Name, "IMG.0003", "takes letters, digits, '-', '.', '_', spaces and Chinese characters only", "leave the other characters out")
	v.check(trimmed == m.Name, "name", m.Name, "IMG.0003", "must not begin or end with a space", "remove the space")
	n = utf8.RuneCountInString(m.Description)
	v.check(n <= 1024, "description", m.Description, "IMG.0004", "must have at most 1024 characters", fmt.Sprintf("shorten it by %d", n-1024))
	v.check(!strings.ContainsAny(m.Description, "\r\n<>"), "description", m.Description, "IMG.0054", "must not contain line breaks, '<' or '>'", leaveOutChars)
}

func (m Image) checkLocation(v *validation) {
	v.check(uploader.CheckName(m.Bucket, "key") == nil, "image_url", m.Bucket, "IMG.0017", "needs a bucket name: 3 to 63 lower-case letters, digits, '-' and '.'", "name the bucket alone, without a scheme or a path")
	// Without its spaces, which have a rule of their own.
	key := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return '-'
		}
		return r
	}, m.Key)
	v.check(uploader.CheckName("bucket", key) == nil, "image_url", m.Key, "IMG.0017", "needs an object key of 1 to 1024 bytes of UTF-8, without control characters and without the segments '.' and '..'", "choose another key")
	v.check(!strings.ContainsFunc(m.Key, unicode.IsSpace), "image_url", m.Key, "IMG.0175", "must not contain spaces", "use '-' or '_' in their place")
	v.check(m.MinDisk >= 1 && m.MinDisk <= 1024, "min_disk", strconv.Itoa(m.MinDisk), "IMG.0055", "must be 1 to 1024 GB", "choose a size in that range")
}

// maxKey is the longest object key, in bytes.
const maxKey = 1024

var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func (m Image) checkKind(v *validation) {
	v.check(slices.Contains([]ImageType{TypeECS, TypeBMS, TypeData}, m.Type), "type", string(m.Type), "IMG.0024", "must be ECS, BMS or DataImage", "choose one of them")
	if m.Type == TypeData {
		m.checkDataDisk(v)
	} else {
		m.checkSystemDisk(v)
	}
	id := m.EnterpriseProjectID
	v.check(id == "" || id == "0" || uuidPattern.MatchString(id), "enterprise_project_id", id, "IMG.0001", "must be empty, 0 or a UUID", "copy the id from the enterprise project's page")
}

// leaveOut is the advice for fields that the other kind of disk has,
// leaveOutChars that for characters that are not taken.
const leaveOut, leaveOutChars = "leave it out", "leave them out"

func (m Image) checkDataDisk(v *validation) {
	v.check(m.OSVersion == "", "os_version", m.OSVersion, "IMG.0056", "is not for data disks", leaveOut)
	v.check(m.OSType == OSLinux || m.OSType == OSWindows, "os_type", string(m.OSType), "IMG.0122", "must be Linux or Windows", "choose one of them")
	v.check(m.Architecture == "", "architecture", string(m.Architecture), "IMG.0212", "is not for data disks", leaveOut)
	v.check(m.HWFirmwareType == "", "hw_firmware_type", string(m.HWFirmwareType), "IMG.0141", "is not for data disks", leaveOut)
	v.check(m.LicenseType == "", "license_type", string(m.LicenseType), "IMG.0001", "is not for data disks", leaveOut)
}

func (m Image) checkSystemDisk(v *validation) {
	v.check(!strings.ContainsAny(m.OSVersion, "\r\n<>"), "os_version", m.OSVersion, "IMG.0056", "must not contain line breaks, '<' or '>'", leaveOutChars)
	v.check(m.OSVersion != "", "os_version", m.OSVersion, "IMG.0159", "is required for system disks", `name the system as the service lists it, e.g. "CentOS 7.0 64bit"`)
	v.check(m.OSType == "", "os_type", string(m.OSType), "IMG.0122", "is for data disks only", leaveOut)
	v.check(slices.Contains([]Architecture{"", ArchX86, ArchARM}, m.Architecture), "architecture", string(m.Architecture), "IMG.0212", "must be x86 or arm", "choose one of them")
	v.check(slices.Contains([]Firmware{"", FirmwareBIOS, FirmwareUEFI}, m.HWFirmwareType), "hw_firmware_type", string(m.HWFirmwareType), "IMG.0141", "must be bios or uefi", "choose one of them")
	v.check(m.Architecture != ArchARM || m.HWFirmwareType != FirmwareBIOS, "hw_firmware_type", string(m.HWFirmwareType), "IMG.0141", "must be uefi with architecture arm", "use uefi or leave it out")
	v.check(slices.Contains([]License{"", LicensePlatform, LicenseBYOL}, m.LicenseType), "license_type", string(m.LicenseType), "IMG.0001", "must be platform or byol", "choose one of them")
	v.check(m.LicenseType == "" || m.windows(), "license_type", string(m.LicenseType), "IMG.0001", "is for Windows only", leaveOut)
}

func (m Image) checkTags(v *validation) {
	v.check(len(m.Tags) == 0 || len(m.ImageTags) == 0, "image_tags", "", "IMG.0116", "cannot go with tags", "use one of the two")
	const limits, shorten = "must be key.value with a key of 1 to 36 and a value of up to 43 characters", "write it as key.value and shorten it"
	for _, t := range m.Tags {
		key, value, ok := strings.Cut(t, ".")
		v.check(ok && key != "" && len(key) <= 36 && len(value) <= 43, "tags", t, "IMG.0115", limits, shorten)
		v.check(only(key, tagRune) && only(value, tagRune), "tags", t, "IMG.0115", "takes letters, digits, '_' and '-' only", "leave the other characters out")
	}
	for _, t := range m.ImageTags {
		key, value, text := utf8.RuneCountInString(t.Key), utf8.RuneCountInString(t.Value), t.Key+"="+t.Value
		v.check(key >= 1 && key <= 36 && value <= 43, "image_tags", text, "IMG.0115", "must have a key of 1 to 36 and a value of up to 43 characters", "shorten it")
	}
}
