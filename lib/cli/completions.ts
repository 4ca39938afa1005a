/**
 * Completion of commands and options in bash, zsh and fish, made from the table of commands.
 *
 * @module
 */

import { exitCodes, UsageError } from "./exit.ts";
import type { Subcommand } from "./help.ts";
import { didYouMean, helpOption } from "./options.ts";
import { print } from "./output.ts";

const shells: Record<string, (commands: readonly Subcommand[]) => string> = { bash, zsh, fish };

/** `kvapp completions`. It is given the table that it stands in. */
export function completionsCommand(commands: readonly Subcommand[]): Subcommand {
  const names = Object.keys(shells);
  return {
    name: "completions",
    summary: "prints completions for bash, zsh or fish",
    usage: names.map((name) => `completions ${name}`),
    options: [],
    words: names,
    details: `To have them in every new shell:
  bash   echo 'source <(kvapp completions bash)' >> ~/.bashrc
  zsh    echo 'source <(kvapp completions zsh)' >> ~/.zshrc    (after compinit)
  fish   kvapp completions fish > ~/.config/fish/completions/kvapp.fish`,
    run: (parsed) => {
      const [name = "", ...others] = parsed.rest;
      const make = Object.hasOwn(shells, name) && others.length === 0 ? shells[name] : undefined;
      if (make === undefined) {
        throw new UsageError(`name one shell: ${names.join(", ")}.${didYouMean(name, names)}`);
      }
      print(make(commands));
      return Promise.resolve(exitCodes.done);
    },
  };
}

function optionsOf(command: Subcommand): string[] {
  return [...command.options.filter((option) => !option.hidden), helpOption].map((option) =>
    `--${option.name}`
  );
}

function bash(commands: readonly Subcommand[]): string {
  const cases = commands.map((command) =>
    `    ${command.name}) words="${[...command.words ?? [], ...optionsOf(command)].join(" ")}" ;;`
  );
  return `_kvapp() {
  local words word=\${COMP_WORDS[COMP_CWORD]}
  case \${COMP_WORDS[1]} in
${cases.join("\n")}
  esac
  if [[ $COMP_CWORD == 1 ]]; then words="${
    commands.map((command) => command.name).join(" ")
  } --help --version"; fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _kvapp kvapp`;
}

function zsh(commands: readonly Subcommand[]): string {
  const cases = commands.map((command) =>
    `    ${command.name}) compadd -- ${[...command.words ?? [], ...optionsOf(command)].join(" ")}; _files ;;`
  );
  return `#compdef kvapp
_kvapp() {
  if (( CURRENT == 2 )); then compadd -- ${
    commands.map((command) => command.name).join(" ")
  } --help --version; return; fi
  case $words[2] in
${cases.join("\n")}
  esac
}
compdef _kvapp kvapp`;
}

function fish(commands: readonly Subcommand[]): string {
  const quote = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = commands.flatMap((command) => [
    `complete -c kvapp -n __fish_use_subcommand -f -a ${command.name} -d ${quote(command.summary)}`,
    ...(command.words ?? []).map((word) =>
      `complete -c kvapp -n '__fish_seen_subcommand_from ${command.name}' -f -a ${word}`
    ),
    ...[...command.options.filter((option) => !option.hidden), helpOption].map((option) =>
      `complete -c kvapp -n '__fish_seen_subcommand_from ${command.name}' -l ${option.name}` +
      `${option.value === undefined ? "" : " -r"} -d ${quote(option.text)}`
    ),
  ]);
  return lines.join("\n");
}
