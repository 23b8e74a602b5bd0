# Only the program: NixOS has its unit.
rm -rf "$out/etc" "$out/lib" "$out/share"
# A Go program crashes when patchelf has moved its parts. The last page that is mapped without write access has room at its end for two
# paths: the interpreter's, and that of the libraries, whose entry (DT_RPATH) replaces the debuggers' (DT_DEBUG).
python3 - "$out/bin/consul" "$interpreter" "$libs/lib:$out/lib" <<'PYTHON'
import struct, sys

file, interpreter, rpath = sys.argv[1:]
elf = bytearray(open(file, "rb").read())
start, size, count = *struct.unpack_from("<Q", elf, 32), *struct.unpack_from("<HH", elf, 54)
headers = {at: struct.unpack_from("<IIQQQQQQ", elf, at) for at in range(start, start + size * count, size)}
LOAD, DYNAMIC, INTERP, WRITABLE = 1, 2, 3, 2
STRTAB, DEBUG, RPATH = 5, 21, 15

_, _, offset, address, _, length, _, _ = [h for h in headers.values() if h[0] == LOAD and not h[1] & WRITABLE][-1]
room, words = offset + length, interpreter.encode() + b"\0" + rpath.encode() + b"\0"
end = room + len(words)
assert end <= -(-room // 4096) * 4096 and not any(elf[room:end]), "no room"
elf[room:end] = words
for at, (kind, flags, own, mapped, *_) in headers.items():
    if kind == LOAD and own == offset:
        struct.pack_into("<QQ", elf, at + 32, length + len(words), length + len(words))
    if kind == INTERP:
        struct.pack_into("<Q", elf, at + 8, room)
        struct.pack_into("<QQ", elf, at + 16, address + length, address + length)
        struct.pack_into("<QQ", elf, at + 32, len(interpreter) + 1, len(interpreter) + 1)
    if kind == DYNAMIC:
        entries = {}
        while (entry := struct.unpack_from("<qQ", elf, own))[0]:
            entries[entry[0]] = (own, entry[1])
            own += 16
        text = address + length + len(interpreter) + 1 - entries[STRTAB][1]
        struct.pack_into("<qQ", elf, entries[DEBUG][0], RPATH, text)
open(file, "wb").write(elf)
PYTHON
patch_programs() { :; }
