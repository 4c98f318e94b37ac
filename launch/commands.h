// The subcommands. Each takes its own arguments, argv[0] being its name, prints its own error and
// returns the exit code of the process. One prototype a line.
#ifndef AXL_LAUNCH_COMMANDS_H
#define AXL_LAUNCH_COMMANDS_H

int axl_cmd_config_schema(int argc, char **argv);
int axl_cmd_doctor(int argc, char **argv);
int axl_cmd_evaluate(int argc, char **argv);
int axl_cmd_explain(int argc, char **argv);
int axl_cmd_fetch(int argc, char **argv);
int axl_cmd_import(int argc, char **argv);
int axl_cmd_inference(int argc, char **argv);
int axl_cmd_inspect(int argc, char **argv);
int axl_cmd_merge(int argc, char **argv);
int axl_cmd_plan(int argc, char **argv);
int axl_cmd_preprocess(int argc, char **argv);
int axl_cmd_render(int argc, char **argv);
int axl_cmd_tokenize(int argc, char **argv);
int axl_cmd_train(int argc, char **argv);
int axl_cmd_validate(int argc, char **argv);

#endif
